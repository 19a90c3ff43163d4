#include "storage/edit_job.h"

namespace cairn::storage {

bool EditJob::step() {
  auto more = work();
  if (more && *more) return true;
  result_ = more ? Result<void>() : Result<void>(std::move(more).error());
  return false;
}

Result<bool> EditJob::commit_edits(const std::vector<TabletEdit>& edits) {
  auto done = shared_->manifest->commit(edits);
  committed_ = done && *done;
  undecided_ = !done && done.error().code != ErrorCode::kNoSpace;
  return done;
}

}  // namespace cairn::storage
