// What jobs have in common that end with an edit of the manifest. Internal to storage/.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "storage/store_impl.h"
#include "storage/version/edit.h"

namespace cairn::storage {

// Prepares files step by step in the background, then commits one edit; after any error nothing has changed, unless it
// is undecided. Thread safety: steps come one after the other, all else when there are none any more.
class EditJob {
 public:
  virtual ~EditJob() = default;
  bool step();  // true while more remains; then there is a result()

  const Result<void>& result() const { return *result_; }
  bool undecided() const { return undecided_; }  // the manifest may or may not have the edit: its files must stay

 protected:
  explicit EditJob(std::shared_ptr<StoreShared> shared) : shared_(std::move(shared)) {}
  virtual Result<bool> work() = 0;  // one step
  // False: the edits do not fit, a tablet is gone.
  Result<bool> commit_edits(const std::vector<TabletEdit>& edits);
  bool committed() const { return committed_; }

  const std::shared_ptr<StoreShared> shared_;

 private:
  bool committed_ = false, undecided_ = false;
  std::optional<Result<void>> result_;
};

}  // namespace cairn::storage
