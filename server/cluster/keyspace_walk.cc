#include "server/cluster/keyspace_walk.h"

#include <algorithm>
#include <vector>

#include "server/resp/reply_parser.h"

namespace cairn::server {
namespace {
constexpr Duration kScanTimeMax = 100 * kMillisecond;  // after it SCAN begins no further page
constexpr uint64_t kScanBytesMax = 4u << 20;           // of keys: the same
constexpr uint64_t kKeysBytesMax = 256u << 20;         // of a reply to KEYS
constexpr uint64_t kRandomPage = 16;                   // RANDOMKEY chooses among neighbours
constexpr std::string_view kNoType = "none";           // an empty one would stand for all
constexpr std::string_view kBadPage = "ERR internal error: the keys of a range could not be read";
constexpr std::string_view kTooManyKeys =
    "ERR the keys take more than 268435456 bytes in one reply: use SCAN, which brings them in parts";
}  // namespace

void KeyspaceWalk::start(KeyspaceWalkHost& host, uint64_t id, const CommandSpec& spec, Argv argv, int proto,
                         Done done) {
  const Kind kind = spec.name == "SCAN" ? Kind::kScan : spec.name == "KEYS" ? Kind::kKeys : Kind::kRandomKey;
  const std::shared_ptr<KeyspaceWalk> walk(new KeyspaceWalk(host, id, kind, proto, std::move(done)));
  walk->set_out(argv);
  walk->ask();
}

void KeyspaceWalk::set_out(Argv argv) {
  if (kind_ == Kind::kKeys) {
    pattern_ = argv[1];
    return;
  }
  if (kind_ == Kind::kRandomKey) {
    cursor_ = begin_ = host_.random() % kScanCursorEnd;
    count_ = kRandomPage;
    return;
  }
  ScanOptions options;
  (void)parse_scan_cursor(argv[1], cursor_);
  (void)parse_scan_options(argv.subspan(2), true, options);
  cursor_ = std::min(cursor_, kScanCursorEnd - 1);
  count_ = options.count;
  if (options.pattern) pattern_ = *options.pattern;
  if (options.type) type_ = options.type->empty() ? kNoType : *options.type;
}

void KeyspaceWalk::ask() {
  const std::string cursor = std::to_string(cursor_);
  const std::string count = std::to_string(std::min(count_, kScanPageKeysMax));
  const std::string_view argv[] = {kScanRangeCommand.name, cursor, count, pattern_, type_};
  host_.ask_range(argv, static_cast<uint16_t>(cursor_ >> 32),
                  [self = shared_from_this()](std::string_view reply) { self->page(reply); });
}

void KeyspaceWalk::page(std::string_view reply) {
  if (!host_.wanted(id_)) return;
  if (reply.starts_with('-')) return done_(reply);
  const auto next = [&](char type, ReplyHead& head) {
    if (read_reply_head(reply, head) != ReplyState::kComplete || head.type != type) return false;
    reply.remove_prefix(head.bytes);
    return true;
  };
  ReplyHead whole, looked_at, cursor, keys;
  uint64_t position = 0;
  if (!next('*', whole) || whole.number != 3 || !next(':', looked_at) || !next('$', cursor) || !next('*', keys) ||
      !parse_scan_cursor(cursor.text, position).empty() || (position != 0 && position <= cursor_)) {
    return fail(kBadPage);
  }
  cursor_ = position;
  found_ += keys.children;
  keys_ += reply;
  more(static_cast<uint64_t>(looked_at.number));
}

void KeyspaceWalk::more(uint64_t looked_at) {
  if (kind_ == Kind::kRandomKey) {
    if (found_ > 0 || (wrapped_ && (cursor_ == 0 || cursor_ > begin_))) return finish();
    wrapped_ = wrapped_ || cursor_ == 0;
    return ask();
  }
  if (cursor_ == 0) return finish();
  if (kind_ == Kind::kKeys) return keys_.size() > kKeysBytesMax ? fail(kTooManyKeys) : ask();
  count_ -= std::min(count_, looked_at);
  if (count_ == 0 || keys_.size() >= kScanBytesMax) return finish();
  if (deadline_ == kNever) deadline_ = host_.now() + kScanTimeMax;  // most have enough with their first page
  if (host_.now() >= deadline_) return finish();
  ask();
}

void KeyspaceWalk::fail(std::string_view error) {
  std::string bytes;
  RespWriter(bytes, proto_).error(error);
  done_(bytes);
}

void KeyspaceWalk::finish() {
  std::string bytes;
  bytes.reserve(keys_.size() + 64);
  RespWriter reply(bytes, proto_);
  if (kind_ == Kind::kRandomKey) {
    std::string_view keys = keys_;
    ReplyHead head;
    for (uint64_t skip = found_ == 0 ? 0 : host_.random() % found_; skip > 0; --skip) {
      if (read_reply_head(keys, head) != ReplyState::kComplete) return fail(kBadPage);
      keys.remove_prefix(head.bytes);
    }
    if (found_ == 0) {
      reply.null();
    } else if (read_reply_head(keys, head) != ReplyState::kComplete) {
      return fail(kBadPage);
    } else {
      reply.raw(keys.substr(0, head.bytes));
    }
    return done_(bytes);
  }
  if (kind_ == Kind::kScan) {
    reply.array(2);
    reply.bulk(std::to_string(cursor_));
  }
  reply.array(found_);
  reply.raw(keys_);
  done_(bytes);
}

}  // namespace cairn::server
