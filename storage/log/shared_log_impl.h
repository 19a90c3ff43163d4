// The shared log's working parts. Internal to storage/log.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "storage/log/batch_buffer.h"
#include "storage/log/group_table.h"
#include "storage/log/log_recovery.h"
#include "storage/log/segment_maker.h"
#include "storage/log/shared_log.h"

namespace cairn::storage {

// Two halves: the stream of batches (shared_log.cc) and the care of segments (segment_care.cc).
class SharedLogImpl final : public SharedLog {
 public:
  SharedLogImpl(Environment env, std::string dir, SharedLogOptions options);
  // Writes a last mark that vouches for the newest batch, if nothing is under way. Records not flushed are
  // lost.
  ~SharedLogImpl() override;
  Result<void> start(LogRecovery& recovery);

  void append(RangeId group, const LogEntry& entry) override;
  void put_slot(RangeId group, const LogEntry& entry) override;
  void truncate_from(RangeId group, LogIndex index) override;
  void hard_state(RangeId group, const HardStateRecord& state) override;
  void compact_to(RangeId group, const LogStart& start) override;
  void snapshot_mark(RangeId group, const SnapshotMarkRecord& mark) override;
  void create_group(RangeId group, ReplicaId replica, std::string_view descriptor) override;
  void tombstone_group(RangeId group, ReplicaId replica) override;

  LogPosition end() const override { return end_; }
  LogPosition durable() const override { return durable_; }
  void flush() override;
  bool writing() const override { return in_flight_ != nullptr; }
  bool has_room() const override;
  std::vector<RangeId> pinning_groups(uint64_t budget_bytes) const override;
  uint64_t live_bytes() const override;
  const SharedLogMetrics& metrics() const override { return metrics_; }

 private:
  struct Segment {
    uint64_t sequence = 0;
    uint64_t file_bytes = 0;
    uint64_t data_bytes = 0;
    std::optional<LogPosition> doomed_at;  // nothing in it counts once this is durable
  };
  struct Dead {
    uint64_t sequence;
    uint64_t file_bytes;
    uint64_t named_by;  // the first batch that no longer names this segment as needed
  };

  // Batches.
  void add(const Record& record);
  void seal();
  void pump();
  void write_front();
  void written(uint64_t batch, LogPosition end, size_t bytes, uint64_t begun, Result<void> result);
  void fail(const Error& error);

  // Segments.
  bool room_for(uint64_t bytes);  // switches to the prepared segment if it must; false: wait
  void use(PreparedSegment segment);
  void collect();
  void work_ahead();  // starts the next background job if one is due
  void prepare(uint64_t bytes);
  void prepared(Result<PreparedSegment> result);
  void remove_dead();
  uint64_t current() const { return segments_.back().sequence; }
  uint64_t waiting_bytes() const;

  Environment env_;
  std::string dir_;
  SharedLogOptions options_;
  SharedLogMetrics metrics_;
  GroupTable groups_;
  // Callbacks of unfinished jobs and writes hold a weak reference: after the log's death they do nothing.
  std::shared_ptr<SharedLogImpl*> self_ = std::make_shared<SharedLogImpl*>(this);

  LogPosition end_, durable_;
  uint64_t next_batch_ = 1;
  uint64_t durable_batch_ = 0;
  std::unique_ptr<BatchBuffer> filling_;
  std::deque<std::unique_ptr<BatchBuffer>> sealed_;
  std::vector<std::unique_ptr<BatchBuffer>> spare_buffers_;
  std::shared_ptr<BatchBuffer> in_flight_;
  bool flush_requested_ = false;
  bool pumping_ = false;
  bool unvouched_ = false;  // the newest durable batch is named by no later header
  bool failed_ = false;

  std::deque<Segment> segments_;  // oldest first; the last one is being written
  std::deque<Dead> dead_;
  std::shared_ptr<File> file_;  // of the last segment
  uint64_t write_at_ = 0;
  std::optional<PreparedSegment> prepared_;
  uint64_t next_segment_ = 1;
  bool background_busy_ = false;
  bool no_space_ = false;
  uint64_t wanted_bytes_ = 0;  // a batch waits for a segment of at least this size; 0 = none waits
};

}  // namespace cairn::storage
