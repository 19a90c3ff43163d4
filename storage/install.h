// Taking in a received snapshot in the place of a tablet. Internal to storage/.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "storage/edit_job.h"

namespace cairn::storage {

// Verifies the files, links them under fresh numbers, and replaces the tablet in the manifest.
class InstallJob final : public EditJob {
 public:
  InstallJob(std::shared_ptr<StoreShared> shared, RangeId range, std::string dir, std::string manifest,
             const AppliedPosition& position);
  ~InstallJob() override;

  RangeId range() const { return range_; }
  const AppliedPosition& position() const { return position_; }
  uint64_t life() const { return life_; }  // of the new tablet, once it is committed
  Tables& installed() { return installed_; }
  // Any thread. From its return on nothing is committed any more; what was committed by then stays so.
  void cancel();
  void discard();  // once committed: the new tablet is gone from the manifest again

 private:
  Result<bool> work() override;
  Result<bool> advance();
  Result<void> verify_and_link(const SnapshotTable& table);
  Result<void> commit();

  RangeId range_;
  std::string dir_, manifest_;
  AppliedPosition position_;
  std::optional<std::vector<SnapshotTable>> tables_;
  size_t next_ = 0;
  uint64_t life_ = 0;
  Tables installed_;
  std::mutex commit_mutex_;  // the one of the manifest may be taken while it is held
  bool cancelled_ = false;   // under commit_mutex_
};

}  // namespace cairn::storage
