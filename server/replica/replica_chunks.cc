// Long strings: their bytes are replicated as chunk rows under a fresh version, a few at a time between other commands'
// entries, and then the command that writes them is evaluated once more and names them in a meta row.
#include <algorithm>
#include <utility>

#include "base/codec.h"
#include "base/plant.h"
#include "server/commands/row_format.h"
#include "server/replica/replica.h"
#include "storage/write_batch.h"

namespace cairn::server {
namespace {
constexpr uint64_t kChunksPerEntry = 3;  // of one string; what a small command may have to wait for
constexpr uint64_t kEntriesPending = 6;  // proposed and not committed, of all long strings of a range
constexpr std::string_view kFirstNumber("\0\0\0\0", 4);

std::string chunk_prefix(std::string_view key_prefix, uint64_t owner, uint64_t version) {
  std::string prefix;
  if (owner == 0) {
    sharding::append_chunk_prefix(prefix, key_prefix, version);
  } else {
    sharding::append_element_chunk_prefix(prefix, key_prefix, owner, version);
  }
  return prefix;
}
}  // namespace

std::string Replica::LongString::rows_prefix() const { return chunk_prefix(key_prefix, owner, version); }

Replica::LongString* Replica::Waiting::find_chunked(std::string_view key_prefix, uint64_t owner, std::string_view head,
                                                    std::string_view tail) {
  const auto found = std::find_if(chunked.begin(), chunked.end(), [&](const LongString& text) {
    return !text.used && text.owner == owner && text.bytes.size() == head.size() + tail.size() &&
           text.key_prefix == key_prefix && text.bytes.starts_with(head) && text.bytes.ends_with(tail);
  });
  return found == chunked.end() ? nullptr : &*found;
}

ChunksWritten Replica::write_chunks(std::string_view key_prefix, uint64_t owner, std::string_view head,
                                    std::string_view tail) {
  const size_t size = head.size() + tail.size();
  chunked_bytes_ += size;
  LongString* known = evaluated_ == nullptr ? nullptr : evaluated_->find_chunked(key_prefix, owner, head, tail);
  if (known != nullptr) {
    known->used = true;
    return {known->version, options_.chunk_bytes};
  }
  LongString text;
  text.key_prefix = key_prefix;
  text.owner = owner;
  text.bytes.reserve(size);
  text.bytes.append(head);
  text.bytes.append(tail);
  wanted_chunks_.push_back(std::move(text));
  return {kChunksToCome, options_.chunk_bytes};
}

uint64_t Replica::next_owner(std::string_view key_prefix) {
  if (evaluated_ != nullptr) {
    for (NewOwner& owner : evaluated_->owners) {
      if (owner.used || owner.key_prefix != key_prefix) continue;
      owner.used = true;
      return owner.version;
    }
  }
  given_owners_.push_back({std::string(key_prefix), next_version()});
  return given_owners_.back().version;
}

void Replica::begin_chunks(Waiting* waiting) {
  evaluated_ = waiting;
  wanted_chunks_.clear();
  given_owners_.clear();
  chunked_bytes_ = 0;
  if (waiting == nullptr) return;
  for (LongString& text : waiting->chunked) text.used = false;
  for (NewOwner& owner : waiting->owners) owner.used = false;
}

// The command waits, and others with it that name its keys, until the rows that its evaluation wants are committed.
void Replica::start_chunks(Waiting& waiting) {
  for (LongString& text : wanted_chunks_) {
    text.version = next_version();
    waiting.chunked_bytes += text.bytes.size();
    waiting_bytes_ += text.bytes.size();
    waiting.chunked.push_back(std::move(text));
  }
  wanted_chunks_.clear();
  for (NewOwner& owner : given_owners_) waiting.owners.push_back(std::move(owner));
  given_owners_.clear();
  waiting.chunking = true;
  chunking_.push_back(waiting.id);
}

void Replica::serve_chunks() {
  for (const uint64_t id : std::exchange(chunks_done_, {})) {
    if (const auto found = waiting_.find(id); found != waiting_.end()) {
      found->second->chunking = false;
      run_waiting(id);
    }
  }
  const uint64_t leadership = leadership_;
  while (leadership == leadership_ && !chunking_.empty() && host_.has_memory() &&
         chunks_pending_ < kEntriesPending * kChunksPerEntry * options_.chunk_bytes) {
    const uint64_t id = chunking_.front();
    const auto found = waiting_.find(id);
    const bool cleared = found != waiting_.end() && found->second->data_epoch != data_epoch_;
    if (found != waiting_.end() && leads() && can_store() && (!cleared || CAIRN_PLANTED("chunks-survive-clear"))) {
      propose_chunks(*found->second);
      continue;
    }
    // It is evaluated again, here or elsewhere, or refused.
    chunking_.pop_front();
    if (found == waiting_.end()) continue;
    found->second->chunking = false;
    if (can_store() || !leads()) {
      run_waiting(id);
    } else {
      refuse_for_room(*found->second);
    }
  }
}

// The next rows of one command's strings, as an entry of their own with what the turn has gathered before.
void Replica::propose_chunks(Waiting& waiting) {
  begin_turn();
  begin_batch();
  uint64_t bytes = 0;
  std::string key;
  auto text = std::find_if(waiting.chunked.begin(), waiting.chunked.end(), [](const auto& t) { return !t.complete(); });
  for (; text != waiting.chunked.end() && bytes < kChunksPerEntry * options_.chunk_bytes;) {
    const std::string_view chunk = std::string_view(text->bytes).substr(text->proposed, options_.chunk_bytes);
    key = text->rows_prefix();
    put_big_u32(key, static_cast<uint32_t>(text->proposed / options_.chunk_bytes));
    batch_.put(key, chunk);
    text->proposed += chunk.size();
    bytes += chunk.size();
    if (text->complete()) ++text;
  }
  chunks_pending_ += bytes;
  host_.metrics().chunk_bytes.add_owned(bytes);
  const bool last = text == waiting.chunked.end();
  if (last) chunking_.pop_front();
  after_batch(batch_number_, [this, bytes, id = last ? waiting.id : 0, leadership = leadership_] {
    if (leadership != leadership_) return;
    chunks_pending_ -= bytes;
    if (id != 0) chunks_done_.push_back(id);
    host_.touch(*this);
  });
  propose_batch();
}

// Rows that no meta row is going to name.
void Replica::discard_chunks(Waiting& waiting) {
  for (const LongString& text : waiting.chunked) {
    if (text.proposed == 0 || text.used || !leads()) continue;
    begin_turn();
    begin_batch();
    batch_.remove_prefix(text.rows_prefix());
  }
  waiting_bytes_ -= std::min(waiting_bytes_, waiting.chunked_bytes);
  waiting.chunked.clear();
  waiting.owners.clear();
  waiting.chunked_bytes = 0;
}

// Every replica keeps in mind which strings have begun and are not named yet: whoever leads next removes them, for
// their writer starts afresh.
void Replica::note_chunks(std::string_view operations) {
  storage::BatchReader reader(operations);
  storage::Op op;
  while (reader.next(op)) {
    switch (op.kind) {
      case storage::OpKind::kPut: note_put(op.key, op.value); break;
      case storage::OpKind::kPrefixDelete:
        std::erase_if(open_chunks_, [&](const auto& open) { return open.second.starts_with(op.key); });
        break;
      case storage::OpKind::kClear: open_chunks_.clear(); break;
      case storage::OpKind::kDelete: break;
    }
  }
}

void Replica::note_put(std::string_view row_key, std::string_view value) {
  const std::string_view key_prefix = sharding::key_prefix_of(row_key);
  if (key_prefix.empty()) return;
  const std::string_view rest = row_key.substr(key_prefix.size());
  MetaRow meta;
  ElementValue element;
  switch (static_cast<sharding::RowKind>(rest[0])) {
    case sharding::RowKind::kMeta:
      if (decode_meta_row(value, meta) && meta.type == RowType::kChunkedString) open_chunks_.erase(meta.version);
      break;
    case sharding::RowKind::kElement:
      if (decode_element(RowType::kExplodedHash, value, element) && element.chunked)
        open_chunks_.erase(element.version);
      break;
    case sharding::RowKind::kChunk:
      if (!rest.ends_with(kFirstNumber)) break;
      if (const auto key = sharding::decode_row_key(row_key)) {
        open_chunks_.emplace(key->version, chunk_prefix(key_prefix, key->owner, key->version));
      }
      break;
  }
}

// At the beginning of a leadership.
void Replica::remove_open_chunks() {
  for (const auto& [version, rows_prefix] : open_chunks_) {
    begin_batch();
    batch_.remove_prefix(rows_prefix);
  }
}

}  // namespace cairn::server
