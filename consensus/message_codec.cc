// The wire form of messages: docs/formats/peer-messages.md.
#include "base/codec.h"
#include "consensus/message.h"

namespace cairn::consensus {
namespace {

constexpr uint8_t kVersion = 1;
enum Kind : uint8_t { kVoteRequest = 1, kVoteReply, kAppendRequest, kAppendReply, kTimeoutNow };
constexpr uint8_t kFlagPre = 1;
constexpr uint8_t kFlagTransfer = 2;
constexpr uint8_t kFlagGranted = 2;
constexpr size_t kEntryBytesMin = 5;  // an entry without payload

template <class Tag>
void put(std::string& out, Number<Tag> number) {
  put_varint(out, number.value);
}

void encode(std::string& out, const VoteRequest& m) {
  put_u8(out, kVoteRequest);
  put_u8(out, static_cast<uint8_t>((m.pre ? kFlagPre : 0) | (m.transfer ? kFlagTransfer : 0)));
  put(out, m.term);
  put(out, m.last_index);
  put(out, m.last_term);
  put(out, m.incarnation);
}

void encode(std::string& out, const VoteReply& m) {
  put_u8(out, kVoteReply);
  put_u8(out, static_cast<uint8_t>((m.pre ? kFlagPre : 0) | (m.granted ? kFlagGranted : 0)));
  put(out, m.term);
}

void encode(std::string& out, const AppendRequest& m) {
  put_u8(out, kAppendRequest);
  put(out, m.term);
  put(out, m.prev_index);
  put(out, m.prev_term);
  put(out, m.commit);
  put_varint(out, m.read_seq);
  put_varint(out, m.entries.size());
  for (const Entry& entry : m.entries) {
    put(out, entry.index);
    put(out, entry.term);
    put_u8(out, static_cast<uint8_t>(entry.type));
    put_varint(out, entry.time_ms);
    put_bytes(out, entry.payload.view());
  }
}

void encode(std::string& out, const AppendReply& m) {
  put_u8(out, kAppendReply);
  put_u8(out, m.ok ? 1 : 0);
  put(out, m.term);
  put(out, m.match);
  put(out, m.hint_index);
  put(out, m.hint_term);
  put_varint(out, m.read_seq);
  put(out, m.incarnation);
  put(out, m.support_epoch);
}

void encode(std::string& out, const TimeoutNow& m) {
  put_u8(out, kTimeoutNow);
  put(out, m.term);
}

uint8_t flags(Decoder& in, uint8_t known) {
  const uint8_t value = in.u8();
  if ((value & ~known) != 0) in.fail();
  return value;
}

Message decode_vote_request(Decoder& in) {
  VoteRequest m;
  const uint8_t f = flags(in, kFlagPre | kFlagTransfer);
  m.pre = (f & kFlagPre) != 0;
  m.transfer = (f & kFlagTransfer) != 0;
  m.term = in.number<TermTag>();
  m.last_index = in.number<LogIndexTag>();
  m.last_term = in.number<TermTag>();
  m.incarnation = in.number<IncarnationTag>();
  return m;
}

Message decode_vote_reply(Decoder& in) {
  VoteReply m;
  const uint8_t f = flags(in, kFlagPre | kFlagGranted);
  m.pre = (f & kFlagPre) != 0;
  m.granted = (f & kFlagGranted) != 0;
  m.term = in.number<TermTag>();
  return m;
}

Message decode_append_request(Decoder& in, const SharedBytes& backing) {
  AppendRequest m;
  m.term = in.number<TermTag>();
  m.prev_index = in.number<LogIndexTag>();
  m.prev_term = in.number<TermTag>();
  m.commit = in.number<LogIndexTag>();
  m.read_seq = in.varint();
  const uint64_t count = in.varint();
  if (count > in.remaining() / kEntryBytesMin) {  // before anything is allocated for it
    in.fail();
    return m;
  }
  m.entries.reserve(count);
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    Entry entry;
    entry.index = in.number<LogIndexTag>();
    entry.term = in.number<TermTag>();
    const uint8_t type = in.u8();
    if (type > static_cast<uint8_t>(EntryType::kConfiguration)) in.fail();
    entry.type = static_cast<EntryType>(type);
    entry.time_ms = in.varint();
    const std::string_view payload = in.bytes();
    if (!in.ok()) break;
    if (!payload.empty()) {
      entry.payload = backing.slice(static_cast<size_t>(payload.data() - backing.view().data()), payload.size());
    }
    m.entries.push_back(std::move(entry));
  }
  return m;
}

Message decode_append_reply(Decoder& in) {
  AppendReply m;
  m.ok = flags(in, 1) != 0;
  m.term = in.number<TermTag>();
  m.match = in.number<LogIndexTag>();
  m.hint_index = in.number<LogIndexTag>();
  m.hint_term = in.number<TermTag>();
  m.read_seq = in.varint();
  m.incarnation = in.number<IncarnationTag>();
  m.support_epoch = in.number<SupportEpochTag>();
  return m;
}

}  // namespace

void encode_message(std::string& out, const Message& message) {
  put_u8(out, kVersion);
  std::visit([&](const auto& m) { encode(out, m); }, message);
}

std::optional<Message> decode_message(const SharedBytes& backing) {
  Decoder in(backing.view());
  if (in.u8() != kVersion) return std::nullopt;
  std::optional<Message> message;
  switch (in.u8()) {
    case kVoteRequest: message = decode_vote_request(in); break;
    case kVoteReply: message = decode_vote_reply(in); break;
    case kAppendRequest: message = decode_append_request(in, backing); break;
    case kAppendReply: message = decode_append_reply(in); break;
    case kTimeoutNow: message = TimeoutNow{in.number<TermTag>()}; break;
    default: return std::nullopt;
  }
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return message;
}

}  // namespace cairn::consensus
