// Incremental parser of what clients send (Redis serialization protocol specification, "Sending commands" and
// "Inline commands"; quoting rules of redis-cli).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::server {

// Sizes in bytes. The defaults are those of Redis 7.0 where it has them.
struct ParserLimits {
  size_t inline_bytes_max = 64 * 1024;         // also of a "*N" or "$N" line
  int64_t arguments_max = 1024 * 1024;         // above: protocol error
  int64_t bulk_bytes_max = 512 * 1024 * 1024;  // above: protocol error
  // On the wire; above: the command is skipped, the connection lives on.
  size_t command_bytes_max = 40 * 1024 * 1024;
  size_t value_bytes_max = 32 * 1024 * 1024;           // of one argument; above: likewise
  int64_t unauthenticated_arguments_max = 10;          // above: protocol error
  int64_t unauthenticated_bulk_bytes_max = 16 * 1024;  // above: protocol error
};

enum class ParseStatus : uint8_t {
  kNeedMore,       // the input ends inside a command, or is empty
  kCommand,        // argv() holds a command of at least one argument
  kTooLarge,       // a command above command_bytes_max begins here; its remaining bytes are skipped by later calls
  kValueTooLarge,  // the same with an argument above value_bytes_max
  kProtocolError,  // error() says why; the parser must not be used again
};

// Keeps its place between calls as offsets from the start of the unfinished command, so the caller may move
// its buffer. The result does not depend on where the input was cut.
//
// Thread safety: none. Ownership: none of the input; argv() points into it, or into the parser for inline
// commands.
class RequestParser {
 public:
  explicit RequestParser(const ParserLimits& limits) : limits_(limits) {}

  struct Step {
    ParseStatus status;
    size_t consumed;  // bytes at the front of `input` that the caller drops before the next call (after using
                      // argv())
  };
  // `input`: every byte received and not yet consumed.
  Step next(std::string_view input);

  // Valid after kCommand until the next call, while the input stays where it is.
  std::span<const std::string_view> argv() const { return argv_; }
  // After kProtocolError: "ERR Protocol error: ...".
  std::string_view error() const { return error_; }
  // Bytes of the unfinished command, as far as its announced lengths tell.
  size_t announced() const {
    if (skipping_) return 0;
    return bulk_length_ < 0 ? at_ : at_ + static_cast<size_t>(bulk_length_) + 2;
  }
  // Before authentication the smaller limits apply.
  void set_authenticated(bool authenticated) { authenticated_ = authenticated; }

 private:
  struct Argument {
    size_t offset;
    size_t length;
  };
  enum class Line : uint8_t { kDone, kNeedMore, kTooLong, kInvalid };

  // Reads the number between `at` and the next line end. On kDone `at` is behind the line end.
  Line read_number(std::string_view in, size_t& at, int64_t& value) const;
  Step parse_inline(std::string_view in, size_t base);
  bool split_inline(std::string_view line);
  // Checks one "$N" line at `at`. Sets `bulk_length_` on kDone; fills error_ on kInvalid.
  Line read_bulk_header(std::string_view in, size_t& at);
  Step fail(std::string_view reason);
  void reset();

  ParserLimits limits_;
  bool authenticated_ = true;
  bool skipping_ = false;        // inside a command that is too large
  size_t skip_bytes_ = 0;        // of the argument being skipped
  int64_t arguments_left_ = -1;  // -1: the "*N" line was not read yet
  int64_t bulk_length_ = -1;     // -1: the "$N" line was not read yet
  size_t at_ = 0;                // offset from the start of the command of what is read next
  std::vector<Argument> arguments_;
  std::vector<std::string_view> argv_;
  std::string inline_bytes_;
  std::string error_;
};

}  // namespace cairn::server
