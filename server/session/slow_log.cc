#include "server/session/slow_log.h"

#include <utility>

#include "base/codec.h"

namespace cairn::server {
namespace {
constexpr size_t kArgumentBytesMax = 128;
}  // namespace

void pack_arguments(Argv argv, std::string& out, size_t arguments_max) {
  out.clear();
  const bool cut = argv.size() > arguments_max;
  const size_t whole = cut ? arguments_max - 1 : argv.size();
  for (const std::string_view argument : argv.first(whole)) {
    if (argument.size() <= kArgumentBytesMax) {
      put_bytes(out, argument);
    } else {
      put_bytes(out, std::string(argument.substr(0, kArgumentBytesMax)) + "... (" +
                         std::to_string(argument.size() - kArgumentBytesMax) + " more bytes)");
    }
  }
  if (cut) put_bytes(out, "... (" + std::to_string(argv.size() - whole) + " more arguments)");
}

std::vector<std::string_view> unpack_arguments(std::string_view packed) {
  std::vector<std::string_view> out;
  Decoder in(packed);
  while (!in.at_end()) out.push_back(in.bytes());
  return out;
}

void SlowLog::add(Entry entry, uint64_t length_max) {
  entry.id = next_id_++;
  entries_.push_front(std::move(entry));
  shorten(length_max);
}

void SlowLog::shorten(uint64_t length_max) {
  while (entries_.size() > length_max) entries_.pop_back();
}

}  // namespace cairn::server
