// What a connection has collected between MULTI and EXEC, and the keys that it watches.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/commands/transaction.h"

namespace cairn::server {

struct QueuedCommand {
  const CommandSpec* spec = nullptr;
  const SubcommandSpec* subcommand = nullptr;
  std::string words;  // as append_words() writes them

  bool in_range() const { return spec->evaluate != nullptr; }  // else the connection answers it
};

inline constexpr std::string_view kSeveralSlots = "CROSSSLOT Keys in request don't hash to the same slot";

// Thread safety: none; part of its session.
class Transaction {
 public:
  bool open() const { return open_; }
  bool failed() const { return failed_; }
  const std::vector<QueuedCommand>& commands() const { return commands_; }
  const std::map<std::string, std::string>& watched() const { return watched_; }  // key -> encoded WatchMark
  size_t bytes() const { return bytes_; }                                         // of commands and watched keys
  // Of all its keys, the watched ones included; none while there are no keys.
  std::optional<uint16_t> slot() const { return slot_; }

  void begin() { open_ = true; }
  void end() { *this = {}; }  // nothing is watched any more
  void fail() { failed_ = open_; }
  void unwatch() {
    for (const auto& [key, mark] : watched_) bytes_ -= key.size() + mark.size();
    watched_.clear();
    if (!open_) slot_.reset();
  }
  void use_slot(uint16_t slot) {
    if (!slot_) slot_ = slot;
  }
  void queue(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv) {
    commands_.push_back({&spec, subcommand, {}});
    append_words(commands_.back().words, argv);
    bytes_ += commands_.back().words.size() + sizeof(QueuedCommand);
  }
  // A key that is watched already keeps its earlier mark.
  void watch(const std::string& key, std::string_view mark) {
    if (watched_.emplace(key, mark).second) bytes_ += key.size() + mark.size();
  }

 private:
  bool open_ = false;
  bool failed_ = false;
  size_t bytes_ = 0;
  std::optional<uint16_t> slot_;
  std::vector<QueuedCommand> commands_;
  std::map<std::string, std::string> watched_;
};

}  // namespace cairn::server
