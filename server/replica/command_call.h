// A command on its way to the replica that evaluates it, and where its reply goes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/types.h"
#include "server/commands/command.h"

namespace cairn::server {

struct ReplyTarget {
  enum class Kind : uint8_t {
    kSession,   // a connection of this node: id = session, sequence = its slot
    kPeer,      // forwarded by `node`: id = its request
    kCallback,  // the node itself: id = its callback
  };
  Kind kind = Kind::kSession;
  NodeId node;
  uint64_t id = 0;
  uint64_t sequence = 0;  // kPeer: the session over there
  uint64_t epoch = 0;     // kPeer: of its stream
};

// Views: valid while the caller's bytes are.
struct CommandCall {
  const CommandSpec* spec = nullptr;
  Argv argv;
  uint16_t slot = 0;
  uint8_t proto = 2;
  ReplyTarget target;
};

// The same, owning its bytes.
class OwnedCommand {
 public:
  OwnedCommand() = default;
  explicit OwnedCommand(const CommandCall& call)
      : spec_(call.spec), slot_(call.slot), proto_(call.proto), target_(call.target) {
    size_t total = 0;
    for (std::string_view arg : call.argv) total += arg.size() + 5;
    bytes_.reserve(total);
    for (std::string_view arg : call.argv) put_bytes(bytes_, arg);
  }
  explicit operator bool() const { return spec_ != nullptr; }
  // Fills `argv` with views into this object.
  CommandCall call(std::vector<std::string_view>& argv) const {
    argv.clear();
    Decoder in(bytes_);
    while (!in.at_end()) argv.push_back(in.bytes());
    return {spec_, argv, slot_, proto_, target_};
  }
  const CommandSpec* spec() const { return spec_; }
  const ReplyTarget& target() const { return target_; }
  size_t size() const { return bytes_.size() + 128; }
  void reset() {
    spec_ = nullptr;
    bytes_ = std::string();
  }

 private:
  const CommandSpec* spec_ = nullptr;
  uint16_t slot_ = 0;
  uint8_t proto_ = 2;
  ReplyTarget target_;
  std::string bytes_;
};

}  // namespace cairn::server
