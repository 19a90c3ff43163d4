// Taking in a received snapshot in the place of a tablet. Internal to storage/.
#pragma once

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

  uint64_t life() const { return life_; }  // of the new tablet, once it is committed
  Tables& installed() { return installed_; }

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
};

}  // namespace cairn::storage
