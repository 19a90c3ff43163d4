// Goes through the SSTables of a store and checks every block of them, at a bounded rate. Internal to storage/.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/executor.h"
#include "storage/scrub_status.h"
#include "storage/sstable/table_scrub.h"

namespace cairn::storage {

class StoreImpl;

// One pass at a time. Thread safety: the loop; slices run in the background and come back through it.
class Scrubber {
 public:
  explicit Scrubber(StoreImpl& store, uint64_t bytes_per_second) : store_(store), rate_(bytes_per_second) {}
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;
  ~Scrubber();

  bool start(const std::vector<RangeId>& ranges);  // false: a pass is under way
  bool cancel();                                   // false: none is
  void set_rate(uint64_t bytes_per_second) { rate_ = bytes_per_second; }
  const ScrubStatus& status() const { return status_; }

 private:
  struct Target {
    RangeId range;
    uint64_t life = 0;
    uint64_t table = 0;
    uint64_t bytes = 0;
  };
  void next_table();
  void submit(std::shared_ptr<TableScrub> scrub);
  void slice_done(const std::shared_ptr<TableScrub>& scrub, const Result<bool>& result, uint64_t bytes);
  void table_done(std::shared_ptr<const Sstable> table);
  void failed(const std::shared_ptr<TableScrub>& scrub, Error error);
  void found(const Error& error);
  void after(Duration delay, Task task);

  StoreImpl& store_;
  uint64_t rate_;
  ScrubStatus status_;
  std::deque<Target> targets_;  // the first is being read
  int attempts_ = 0;            // of the present slice, that a device has failed
  uint64_t pass_ = 0;           // slices of an earlier one come to nothing
  Instant free_at_ = 0;         // when what was read is paid for
  TimerId timer_ = 0;
};

}  // namespace cairn::storage
