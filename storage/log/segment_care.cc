// Segments of the shared log: start, preparation ahead of need, switching, recycling.
#include <algorithm>

#include "base/assert.h"
#include "storage/log/shared_log_impl.h"

namespace cairn::storage {

Result<void> SharedLogImpl::start(LogRecovery& recovery) {
  CAIRN_TRY_VOID(env_.fs->create_dirs(dir_));
  CAIRN_TRY(auto stream, recover_log(*env_.fs, dir_, groups_, recovery));
  if (!stream.spares.empty()) {
    for (const auto& name : stream.spares) CAIRN_TRY_VOID(env_.fs->remove(join_path(dir_, name)));
    CAIRN_TRY_VOID(env_.fs->sync_dir(dir_));
  }
  for (const auto& segment : stream.segments) {
    segments_.push_back({segment.sequence, segment.file_bytes, segment.data_bytes, std::nullopt});
  }
  next_batch_ = stream.next_batch;
  durable_batch_ = next_batch_ - 1;
  next_segment_ = stream.next_segment;
  end_ = durable_ = {stream.records};
  // Never append to a file that was read: its tail may hold pieces of a torn batch.
  SegmentMaker maker(*env_.fs, dir_, next_segment_++, options_.first_segment_bytes, 0);
  while (maker.step()) {
  }
  if (!maker.result()) return std::move(maker.result()).error();
  use(std::move(*maker.result()));
  return {};
}

void SharedLogImpl::use(PreparedSegment segment) {
  (segment.recycled ? metrics_.segments_recycled : metrics_.segments_created).add_owned();
  segments_.push_back({segment.sequence, segment.bytes, 0, std::nullopt});
  file_ = std::move(segment.file);
  write_at_ = kLogAlign;
}

bool SharedLogImpl::room_for(uint64_t bytes) {
  if (write_at_ + bytes <= segments_.back().file_bytes) return true;
  if (prepared_ && kLogAlign + bytes <= prepared_->bytes) {
    // A segment without any batch would look like a spare file to recovery; nothing in it, nothing to keep.
    use(std::move(*prepared_));
    prepared_.reset();
    wanted_bytes_ = 0;
    collect();
    return true;
  }
  if (prepared_) {  // too small for a very large record: it gets a segment of its own size
    dead_.push_front({prepared_->sequence, 0, 0});
    prepared_.reset();
  }
  wanted_bytes_ = align_up(kLogAlign + bytes);
  return false;
}

uint64_t SharedLogImpl::waiting_bytes() const {
  uint64_t bytes = filling_ ? align_up(filling_->size()) : 0;
  for (const auto& buffer : sealed_) bytes += align_up(buffer->size());
  return bytes;
}

// A quarter of the segment is kept for what is under way when writes start being refused, hard states above
// all.
bool SharedLogImpl::has_room() const {
  if (failed_) return false;
  if (prepared_ || !no_space_) return true;
  const uint64_t total = segments_.back().file_bytes;
  if (write_at_ + waiting_bytes() + total / 4 <= total) return true;
  (*self_)->work_ahead();  // whoever asks whether there is room makes us look again
  return false;
}

void SharedLogImpl::work_ahead() {
  if (background_busy_ || failed_) return;
  const Segment& last = segments_.back();
  const bool half_full = (write_at_ + waiting_bytes()) * 2 > last.file_bytes;
  if (wanted_bytes_ != 0 || (!prepared_ && half_full)) {
    prepare(std::max(wanted_bytes_, options_.segment_bytes));
  } else if (!dead_.empty() && dead_.front().named_by <= durable_batch_ &&
             (dead_.size() > options_.recycled_segments_max || dead_.front().file_bytes != options_.segment_bytes)) {
    remove_dead();
  }
}

void SharedLogImpl::prepare(uint64_t bytes) {
  uint64_t recycle = 0;
  // Oldest first, always: a hole in the middle of the old history would look like damage.
  if (!dead_.empty() && dead_.front().named_by <= durable_batch_ && dead_.front().file_bytes == bytes) {
    recycle = dead_.front().sequence;
    dead_.pop_front();
  }
  background_busy_ = true;
  auto maker = std::make_shared<SegmentMaker>(*env_.fs, dir_, next_segment_++, bytes, recycle);
  env_.background->submit(JobPriority::kLow, [maker, loop = env_.loop, weak = std::weak_ptr(self_)] {
    if (maker->step()) return true;
    loop->post([maker, weak] {
      if (const auto self = weak.lock()) (*self)->prepared(std::move(maker->result()));
    });
    return false;
  });
}

void SharedLogImpl::prepared(Result<PreparedSegment> result) {
  background_busy_ = false;
  if (failed_) return;
  if (!result) {
    if (result.error().code != ErrorCode::kNoSpace) return fail(result.error());
    no_space_ = true;  // tried again by the next flush or question for room
    return;
  }
  no_space_ = false;
  prepared_ = std::move(*result);
  pump();
}

void SharedLogImpl::remove_dead() {
  const uint64_t sequence = dead_.front().sequence;
  dead_.pop_front();
  background_busy_ = true;
  env_.background->submit(JobPriority::kLow,
                          [fs = env_.fs, dir = dir_, sequence, loop = env_.loop, weak = std::weak_ptr(self_)] {
                            // A file that stays is found and removed by the next recovery.
                            if (fs->remove(join_path(dir, segment_name(sequence)))) (void)fs->sync_dir(dir);
                            loop->post([weak] {
                              if (const auto self = weak.lock()) {
                                (*self)->background_busy_ = false;
                                (*self)->work_ahead();
                              }
                            });
                            return false;
                          });
}

void SharedLogImpl::collect() {
  while (segments_.size() > 1) {
    Segment& oldest = segments_.front();
    if (groups_.holds_entries(oldest.sequence)) return;
    if (groups_.holds_small_records(oldest.sequence)) {
      // Copied first: add() changes what the views point into.
      for (Record record : groups_.small_records(oldest.sequence)) {
        const std::string bytes(record.bytes);
        record.bytes = bytes;
        add(record);
      }
    }
    if (!oldest.doomed_at) oldest.doomed_at = end_;
    if (durable_ < *oldest.doomed_at) return;
    dead_.push_back({oldest.sequence, oldest.file_bytes, next_batch_});
    segments_.pop_front();
  }
}

std::vector<RangeId> SharedLogImpl::pinning_groups(uint64_t budget_bytes) const {
  if (segments_.size() < 2 || live_bytes() <= budget_bytes) return {};
  return groups_.groups_up_to(segments_.front().sequence);
}

uint64_t SharedLogImpl::live_bytes() const {
  uint64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment.data_bytes;
  return bytes;
}

}  // namespace cairn::storage
