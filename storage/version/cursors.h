// Going through the rows of a tablet in the order of their keys, up or down.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "storage/version/version.h"

namespace cairn::storage {

std::unique_ptr<TwoWayCursor> run_cursor(const Run& run, BlockSource& source);  // both outlive it

// Children newest first. Shows the newest version of every key, tombstones too, unless a deleted prefix hides
// it.
//
// A loser tree: a step compares the row that moved with those that lost against it, and as long as one child keeps
// winning only with the best of the others.
class MergeCursor final : public TwoWayCursor {
 public:
  // `memtables`, `memtable_prefixes`: so many of the first are of memtables.
  MergeCursor(std::vector<std::unique_ptr<TwoWayCursor>> children, std::vector<PrefixView> prefixes,
              size_t memtables = 0, size_t memtable_prefixes = 0);
  CursorState seek(std::string_view lower) override;
  CursorState seek_back(std::string_view upper) override;
  CursorState next() override;
  const Row& row() const override { return *children_[winner_].row; }
  const Error& error() const override { return children_[winner_].cursor->error(); }
  // seek() and next() answer kNeedsDisk once this many rows were passed, shadowed and hidden ones included.
  void limit_steps(uint64_t steps) { steps_left_ = steps; }
  uint64_t dropped() const { return dropped_; }  // shadowed and hidden versions passed over
  // Tombstones shown and versions passed over that would not be there if all runs were one.
  uint64_t passed_in_vain() const { return in_vain_; }

 private:
  static constexpr uint32_t kNone = ~0u;
  struct Child {
    std::unique_ptr<TwoWayCursor> cursor;
    const Row* row = nullptr;
    CursorState state = CursorState::kEnd;
    bool shadowed = false;  // a newer child has the same key and comes first
  };
  CursorState settle();
  void play_all();
  void advance();
  void replay();
  bool before(uint32_t a, uint32_t b);
  // By a deleted prefix; `in_runs`: of a run.
  bool hidden(const Row& row, bool& in_runs) const;
  uint32_t size() const { return static_cast<uint32_t>(children_.size()); }

  std::vector<Child> children_;
  std::vector<PrefixView> prefixes_;
  std::vector<uint32_t> losers_;  // of the matches at the nodes 1 to size() - 1; child i is the leaf size() + i
  uint32_t winner_ = 0;
  uint32_t rival_ = kNone;  // the best of those that lost against the winner, if it won twice
  bool back_ = false;
  size_t memtables_, memtable_prefixes_;
  uint64_t dropped_ = 0;
  uint64_t in_vain_ = 0;
  uint32_t newest_ = 0;  // the child that had the newest version of the last key
  uint64_t steps_left_ = ~0ull;
};

std::unique_ptr<MergeCursor> merge_view(const ReadView& view, BlockSource& source);

// To the first row of a page, or to one behind its prefix.
CursorState seek_page(TwoWayCursor& cursor, const RowPage& page);

}  // namespace cairn::storage
