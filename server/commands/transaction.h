// WATCH and EXEC as they travel to the leader of their range (docs/decisions/transactions.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "server/commands/command.h"

namespace cairn::server {

// The effects of one EXEC become one log entry.
inline constexpr size_t kTransactionEffectBytesMax = 40u << 20;
inline constexpr size_t kTransactionEffectsMax = 500'000;

// What the leader says of a key when it is watched. The node of the connection keeps it as it is encoded.
struct WatchMark {
  RowView::Moment moment;
  uint64_t expire_ms = 0;  // 0: never
  std::string encode() const;
  static std::optional<WatchMark> decode(std::string_view bytes);
};

// Arguments: the keys. Reply: array of bulk strings, an encoded WatchMark for each.
extern const CommandSpec kWatchCommand;

// EXEC by the strongest of its commands: one that may take memory, one that only deletes, none that writes. Arguments:
// the watched keys with their marks, then the commands, each one argument. Reply: array of their replies, or null.
extern const CommandSpec kExecCommand;
extern const CommandSpec kExecDeletingCommand;
extern const CommandSpec kExecReadingCommand;
const CommandSpec& exec_command(uint32_t flags);  // `flags`: those of all its commands, or-ed

// For one argument: key and mark of each, or the words of a command.
inline void append_words(std::string& out, Argv words) {
  for (const std::string_view word : words) put_bytes(out, word);
}
// False: malformed. The views point into `bytes`.
inline bool read_words(std::string_view bytes, std::vector<std::string_view>& words) {
  words.clear();
  Decoder in(bytes);
  while (!in.at_end() && in.ok()) words.push_back(in.bytes());
  return in.ok();
}

// Calls fn(key) for every key of the command; EXEC has those of its commands and the watched ones.
template <class Fn>
void for_each_key(const CommandSpec& spec, Argv argv, Fn fn);

bool is_exec(const CommandSpec& spec);

template <class Fn>
void for_each_key_of_exec(Argv argv, Fn fn) {
  std::vector<std::string_view> words;
  if (argv.size() > 1 && read_words(argv[1], words)) {
    for (size_t i = 0; i < words.size(); i += 2) fn(words[i]);
  }
  for (size_t i = 2; i < argv.size(); ++i) {
    if (!read_words(argv[i], words) || words.empty()) continue;
    if (const CommandSpec* spec = find_command(words[0])) for_each_key(*spec, words, fn);
  }
}

template <class Fn>
void for_each_key(const CommandSpec& spec, Argv argv, Fn fn) {
  if (is_exec(spec)) return for_each_key_of_exec(argv, fn);
  if (spec.first_key <= 0) return;
  const int argc = static_cast<int>(argv.size());
  const int last = spec.last_key < 0 ? argc + spec.last_key : spec.last_key;
  for (int i = spec.first_key; i <= last && i<argc; i += spec.step> 0 ? spec.step : 1) {
    fn(argv[static_cast<size_t>(i)]);
  }
}

}  // namespace cairn::server
