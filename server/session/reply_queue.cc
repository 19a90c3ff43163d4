#include "server/session/reply_queue.h"

#include <algorithm>

#include "server/resp/reply_parser.h"
#include "server/resp/writer.h"

namespace cairn::server {
namespace {
// What an idle connection may keep: 1024 slots of at most 1 KiB.
constexpr size_t kSlotBytesKept = 1024;
constexpr size_t kSlotsKept = 1024;
constexpr size_t kScattersKept = 8;
constexpr size_t kKeysKept = 4096;
constexpr std::string_view kBadPart = "ERR internal error: a part of the reply could not be read";
}  // namespace

void ReplyQueue::grow() {
  std::vector<Slot> grown(ring_.empty() ? 16 : 2 * ring_.size());
  for (size_t i = 0; i < count_; ++i) grown[(head_ + i) & (grown.size() - 1)] = std::move(at(head_ + i));
  ring_ = std::move(grown);
}

uint64_t ReplyQueue::open(size_t request_bytes) {
  if (count_ == ring_.size()) grow();
  const uint64_t sequence = head_ + count_++;
  Slot& slot = at(sequence);
  slot.done = false;
  slot.muted = muted_;
  slot.trace.spec = nullptr;
  slot.request_bytes = request_bytes;
  request_bytes_ += request_bytes;
  ++waiting_;
  return sequence;
}

std::string& ReplyQueue::immediate() {
  if (muted_) return unheard_;
  if (count_ == 0) return output_;
  const uint64_t last = head_ + count_ - 1;
  // Behind a reply that is waiting and complete there is room for more.
  if (!at(last).done || at(last).parent != kNoParent) {
    at(open(0)).done = true;
    --waiting_;
  }
  return at(head_ + count_ - 1).bytes;
}

void ReplyQueue::settle() {
  unheard_.clear();
  if (muted_ || count_ == 0) return;
  Slot& slot = at(head_ + count_ - 1);
  reply_bytes_ += slot.bytes.size() - slot.counted;
  slot.counted = slot.bytes.size();
}

std::string& ReplyQueue::target(uint64_t sequence) {
  Slot& slot = at(sequence);
  return sequence == head_ && slot.parent == kNoParent && !slot.muted ? output_ : slot.bytes;
}

bool ReplyQueue::is_open(uint64_t sequence) const { return contains(sequence) && !at(sequence).done; }

void ReplyQueue::finish(uint64_t sequence) {
  if (!is_open(sequence)) return;
  complete(sequence);
}

bool ReplyQueue::deliver(uint64_t sequence, std::string_view bytes) {
  if (!is_open(sequence) || at(sequence).scatter != nullptr) return false;
  if (at(sequence).parent == kNoParent) tell(at(sequence), bytes);
  target(sequence).append(bytes);
  late_bytes_ = std::max(bytes.size(), late_bytes_ - late_bytes_ / 4);
  complete(sequence);
  return true;
}

void ReplyQueue::tell(Slot& slot, std::string_view reply) {
  if (slot.trace.spec != nullptr) observer_.late_reply(slot.trace, reply);
  slot.trace.spec = nullptr;
}

void ReplyQueue::complete(uint64_t sequence) {
  Slot& slot = at(sequence);
  slot.done = true;
  --waiting_;
  if (slot.muted && slot.parent == kNoParent) slot.bytes.clear();
  reply_bytes_ += slot.bytes.size() - slot.counted;
  slot.counted = slot.bytes.size();
  request_bytes_ -= slot.request_bytes;
  slot.request_bytes = 0;
  if (slot.parent != kNoParent) {
    Slot& parent = at(slot.parent);
    if (--parent.scatter->parts_left == 0) merge(slot.parent);
  }
  drain();
}

void ReplyQueue::drain() {
  while (count_ > 0 && at(head_).done) {
    Slot& slot = at(head_);
    output_.append(slot.bytes);
    reply_bytes_ -= slot.counted;
    slot.counted = 0;
    slot.bytes.clear();
    if (slot.bytes.capacity() > kSlotBytesKept) slot.bytes.shrink_to_fit();
    if (slot.trace.arguments.capacity() > kSlotBytesKept) std::string().swap(slot.trace.arguments);
    slot.parent = kNoParent;
    ++head_;
    --count_;
  }
  if (count_ == 0 && ring_.size() > kSlotsKept) trim();
}

void ReplyQueue::trim() {
  std::vector<Slot>().swap(ring_);
  spare_scatters_.clear();
}

uint64_t ReplyQueue::open_scatter(const CommandSpec& spec, std::vector<uint32_t>& part_of_key, uint32_t parts,
                                  size_t request_bytes) {
  std::unique_ptr<Scatter> scatter;
  if (spare_scatters_.empty()) {
    scatter = std::make_unique<Scatter>();
  } else {
    scatter = std::move(spare_scatters_.back());
    spare_scatters_.pop_back();
  }
  scatter->spec = &spec;
  scatter->part_of_key.swap(part_of_key);
  scatter->parts = parts;
  scatter->parts_left = parts;
  const uint64_t parent = open(request_bytes);
  at(parent).scatter = std::move(scatter);
  for (uint32_t i = 0; i < parts; ++i) at(open(0)).parent = parent;
  return parent;
}

// The first error by the order of keys wins. Otherwise arrays (MGET) are put together in the order of the
// keys and counts are added up.
void ReplyQueue::merge(uint64_t parent) {
  Slot& slot = at(parent);
  Scatter& scatter = *slot.scatter;
  std::string* failed = nullptr;
  for (uint32_t part : scatter.part_of_key) {
    std::string& bytes = at(parent + 1 + part).bytes;
    if (bytes.empty() || bytes[0] == '-' || bytes[0] == '!') {
      failed = &bytes;
      break;
    }
  }
  RespWriter reply(slot.bytes, 2);  // what is written here looks the same in both protocols
  bool good = true;
  if (failed != nullptr) {
    reply.raw(*failed);
  } else if (at(parent + 1).bytes[0] == '*') {
    std::vector<size_t>& places = scatter.places;
    places.assign(scatter.parts, 0);
    for (uint32_t i = 0; i < scatter.parts && good; ++i) {
      ReplyHead head;
      good = read_reply_head(at(parent + 1 + i).bytes, head) == ReplyState::kComplete && head.type == '*';
      places[i] = head.bytes;
    }
    reply.array(scatter.part_of_key.size());
    for (uint32_t part : scatter.part_of_key) {
      if (!good) break;
      const std::string_view rest = std::string_view(at(parent + 1 + part).bytes).substr(places[part]);
      size_t length = 0;
      good = reply_length(rest, length) == ReplyState::kComplete;
      if (!good) break;
      reply.raw(rest.substr(0, length));
      places[part] += length;
    }
  } else {
    int64_t sum = 0;
    for (uint32_t i = 0; i < scatter.parts && good; ++i) {
      ReplyHead head;
      good = read_reply_head(at(parent + 1 + i).bytes, head) == ReplyState::kComplete && head.type == ':' &&
             !__builtin_add_overflow(sum, head.number, &sum);
    }
    reply.integer(sum);
  }
  if (!good) {
    slot.bytes.clear();
    reply.error(kBadPart);
  } else if (slot.bytes.empty()) {
    reply.error(kBadPart);
  }
  tell(slot, slot.bytes);
  if (slot.muted) slot.bytes.clear();
  for (uint32_t i = 0; i < scatter.parts; ++i) {
    Slot& part = at(parent + 1 + i);
    reply_bytes_ -= part.counted;
    part.counted = 0;
    part.bytes.clear();
  }
  if (spare_scatters_.size() < kScattersKept && slot.scatter->part_of_key.capacity() <= kKeysKept) {
    spare_scatters_.push_back(std::move(slot.scatter));
  } else {
    slot.scatter.reset();
  }
  reply_bytes_ += slot.bytes.size() - slot.counted;
  slot.counted = slot.bytes.size();
  request_bytes_ -= slot.request_bytes;
  slot.request_bytes = 0;
  slot.done = true;
  --waiting_;
}

}  // namespace cairn::server
