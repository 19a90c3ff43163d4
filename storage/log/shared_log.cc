#include "storage/log/shared_log.h"

#include <algorithm>

#include "base/assert.h"
#include "base/plant.h"
#include "storage/log/shared_log_impl.h"

namespace cairn::storage {
namespace {
constexpr size_t kSpareBuffersMax = 2;
}

Result<std::unique_ptr<SharedLog>> SharedLog::open(Environment env, std::string dir, SharedLogOptions options,
                                                   LogRecovery* recovery) {
  auto log = std::make_unique<SharedLogImpl>(std::move(env), std::move(dir), options);
  CAIRN_TRY_VOID(log->start(*recovery));
  return std::unique_ptr<SharedLog>(std::move(log));
}

SharedLogImpl::SharedLogImpl(Environment env, std::string dir, SharedLogOptions options)
    : env_(std::move(env)), dir_(std::move(dir)), options_(options) {
  options_.first_segment_bytes = std::max(align_up(options_.first_segment_bytes), 4 * kLogAlign);
  options_.segment_bytes = std::max(align_up(options_.segment_bytes), 4 * kLogAlign);
  options_.batch_bytes_max = std::clamp<uint64_t>(options_.batch_bytes_max, kLogAlign, uint64_t{1} << 30);
}

SharedLogImpl::~SharedLogImpl() {
  if (failed_ || in_flight_ || !unvouched_ || write_at_ + kLogAlign > segments_.back().file_bytes) return;
  BatchBuffer mark;
  const size_t padded = mark.pad();
  encode_batch_header(mark.data(), {.length = static_cast<uint32_t>(mark.size()),
                                    .segment_low = static_cast<uint32_t>(current()),
                                    .oldest_low = static_cast<uint32_t>(segments_.front().sequence),
                                    .sequence = next_batch_,
                                    .synced_up_to = durable_batch_});
  (void)file_->write_durable(write_at_, {mark.data(), padded});  // a courtesy; its loss costs nothing
}

void SharedLogImpl::append(RangeId group, const LogEntry& entry) {
  add({.kind = RecordKind::kAppend,
       .group = group,
       .index = entry.index,
       .ballot = entry.ballot,
       .type = entry.type,
       .time_ms = entry.time_ms,
       .bytes = entry.payload.view()});
}
void SharedLogImpl::put_slot(RangeId group, const LogEntry& entry) {
  add({.kind = RecordKind::kPutSlot,
       .group = group,
       .index = entry.index,
       .ballot = entry.ballot,
       .type = entry.type,
       .time_ms = entry.time_ms,
       .bytes = entry.payload.view()});
}
void SharedLogImpl::truncate_from(RangeId group, LogIndex index) {
  add({.kind = RecordKind::kTruncateFrom, .group = group, .index = index});
}
void SharedLogImpl::hard_state(RangeId group, const HardStateRecord& state) {
  add({.kind = RecordKind::kHardState, .group = group, .hard_state = state});
}
void SharedLogImpl::compact_to(RangeId group, const LogStart& start) {
  add({.kind = RecordKind::kCompactTo,
       .group = group,
       .index = start.index,
       .ballot = start.ballot,
       .bytes = start.configuration});
  collect();
}
void SharedLogImpl::snapshot_mark(RangeId group, const SnapshotMarkRecord& mark) {
  add({.kind = RecordKind::kSnapshotMark,
       .group = group,
       .index = mark.start.index,
       .ballot = mark.start.ballot,
       .bytes = mark.start.configuration,
       .snapshot_id = mark.snapshot_id});
  collect();
}
void SharedLogImpl::create_group(RangeId group, ReplicaId replica, std::string_view descriptor) {
  add({.kind = RecordKind::kGroupCreate, .group = group, .bytes = descriptor, .replica = replica});
}
void SharedLogImpl::tombstone_group(RangeId group, ReplicaId replica) {
  add({.kind = RecordKind::kGroupTombstone, .group = group, .replica = replica});
  collect();
}

void SharedLogImpl::add(const Record& record) {
  const size_t bytes = record_bytes_max(record.bytes.size());
  if (filling_ && !filling_->empty() && filling_->size() + bytes > options_.batch_bytes_max) seal();
  if (!filling_) {
    if (spare_buffers_.empty()) {
      filling_ = std::make_unique<BatchBuffer>();
    } else {
      filling_ = std::move(spare_buffers_.back());
      spare_buffers_.pop_back();
    }
  }
  filling_->commit(encode_record(filling_->reserve(bytes), record));
  ++filling_->records;
  end_ = end_.next();
  filling_->end = end_;
  groups_.note(record, current());
}

void SharedLogImpl::seal() { sealed_.push_back(std::move(filling_)); }

void SharedLogImpl::flush() {
  flush_requested_ = true;
  pump();
}

// Callbacks may call append() and flush(); an inline writer answers inside write(). Hence a loop, not
// recursion.
void SharedLogImpl::pump() {
  if (pumping_) return;
  pumping_ = true;
  const std::weak_ptr<SharedLogImpl*> alive = self_;
  while (!failed_ && !in_flight_) {
    if (flush_requested_) {
      if (filling_ && !filling_->empty()) seal();
      flush_requested_ = false;
    }
    if (sealed_.empty() || !room_for(sealed_.front()->pad())) break;
    write_front();
    if (alive.expired()) return;  // a callback destroyed the log
  }
  pumping_ = false;
  work_ahead();
}

void SharedLogImpl::write_front() {
  in_flight_ = std::move(sealed_.front());
  sealed_.pop_front();
  const size_t padded = in_flight_->pad();
  const uint64_t batch = next_batch_++;
  encode_batch_header(in_flight_->data(), {.length = static_cast<uint32_t>(in_flight_->size()),
                                           .records = in_flight_->records,
                                           .segment_low = static_cast<uint32_t>(current()),
                                           .oldest_low = static_cast<uint32_t>(segments_.front().sequence),
                                           .sequence = batch,
                                           .synced_up_to = durable_batch_});
  const uint64_t offset = write_at_;
  write_at_ += padded;
  segments_.back().data_bytes += padded;
  const LogPosition end = in_flight_->end;
  if (CAIRN_PLANTED("log-ack-before-sync")) {
    durable_ = end;
    if (env_.on_durable) env_.on_durable(durable_);
  }
  // The closure keeps file and buffer alive, whatever becomes of the log.
  const Instant begun = env_.clock->now();
  auto done = [weak = std::weak_ptr(self_), file = file_, buffer = in_flight_, batch, end, padded,
               begun](Result<void> result) {
    if (const auto self = weak.lock()) (*self)->written(batch, end, padded, begun, std::move(result));
  };
  env_.writer->write(*file_, offset, {in_flight_->data(), padded}, std::move(done));
}

void SharedLogImpl::written(uint64_t batch, LogPosition end, size_t bytes, uint64_t begun, Result<void> result) {
  if (!result) return fail(with_context(std::move(result).error(), "log " + dir_));
  metrics_.syncs.add_owned();
  metrics_.bytes_written.add_owned(bytes);
  metrics_.sync_duration.record_owned(env_.clock->now() - begun);
  const auto buffer = std::move(in_flight_);
  if (spare_buffers_.size() < kSpareBuffersMax && buffer->capacity() <= align_up(2 * options_.batch_bytes_max)) {
    // The closure that called us still refers to the buffer, so its memory moves into a fresh owner.
    spare_buffers_.push_back(std::make_unique<BatchBuffer>(std::move(*buffer)));
  }
  durable_ = end;
  durable_batch_ = batch;
  unvouched_ = true;
  collect();
  const std::weak_ptr<SharedLogImpl*> alive = self_;
  if (env_.on_durable) env_.on_durable(durable_);
  if (!alive.expired()) pump();
}

void SharedLogImpl::fail(const Error& error) {
  if (failed_) return;
  failed_ = true;
  in_flight_.reset();
  if (env_.on_fatal) env_.on_fatal(error);
}

}  // namespace cairn::storage
