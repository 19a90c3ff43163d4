// Splitting and merging tablets: their SSTables change hands by one manifest edit. Internal to storage/.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/edit_job.h"

namespace cairn::storage {

// Runs in the background, one table at a step. Requires: nobody edits the parents meanwhile.
class ReshapeJob final : public EditJob {
 public:
  struct Parent {
    uint64_t life = 0;
    std::shared_ptr<const Version> version;
    AppliedPosition flushed;
  };
  struct Child {
    RangeId range;
    uint64_t life = 0;
    AppliedPosition position;
    Tables tables;
  };

  // One child: it gets all; two: what lies below `key`, and the rest.
  ReshapeJob(std::shared_ptr<StoreShared> shared, std::string key, std::vector<RangeId> children);
  ~ReshapeJob() override;
  void start(std::vector<Parent> parents);

  std::vector<Child>& children() { return children_; }

 private:
  Result<bool> work() override;
  Result<void> place(const SstableInfo& info, const std::shared_ptr<Sstable>& table, bool below);
  Result<void> divide(const SstableInfo& info, const std::shared_ptr<Sstable>& table);
  // `prefix`: the first deleted one that says something about keys on the left.
  Result<void> add_left(const SstableInfo& info, const std::shared_ptr<Sstable>& table,
                        const std::optional<std::string>& prefix);
  Result<void> add_right(const SstableInfo& info, const Sstable& table);
  Result<void> commit();

  std::string key_;
  std::vector<Parent> parents_;
  std::vector<Child> children_;
  Tables todo_;
  std::vector<bool> below_;  // of todo_: a table of the first parent of two
  size_t next_ = 0;
  std::vector<std::shared_ptr<Sstable>> linked_;  // under names of their own
};

}  // namespace cairn::storage
