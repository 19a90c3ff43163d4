// Effects that were evaluated but are not committed yet, newest value per row. Evaluation reads it before the tablet.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::server {

// Batches are numbered by the replica; one batch becomes one log entry. Not thread safe: on the range's loop.
class Overlay {
 public:
  struct Row {
    uint64_t batch = 0;  // the newest batch that wrote the row
    bool deleted = false;
    std::string value;
  };
  using Rows = std::map<std::string, Row, std::less<>>;

  const Row* find(std::string_view key) const {
    const auto found = rows_.find(key);
    return found == rows_.end() ? nullptr : &found->second;
  }
  const Rows& rows() const { return rows_; }
  bool empty() const { return rows_.empty() && clear_batch_ == 0; }
  // The batch of a pending CLEAR: rows that are not in the overlay are absent. 0 = none.
  uint64_t clear_batch() const { return clear_batch_; }

  void write(uint64_t batch, std::string_view key, std::string_view value, bool deleted) {
    auto at = rows_.lower_bound(key);
    if (at != rows_.end() && at->first == key) {
      undo_.push_back({at, false, std::move(at->second)});
    } else {
      at = rows_.emplace_hint(at, std::string(key), Row{});
      undo_.push_back({at, true, {}});
    }
    at->second.batch = batch;
    at->second.deleted = deleted;
    at->second.value.assign(value);
  }
  // Everything before it is gone. Not undone by rollback(): evaluations that clear never ask for rows.
  void clear_all(uint64_t batch) {
    undo_.clear();
    rows_.clear();
    clear_batch_ = batch;
  }

  // One evaluation: begin(), then writes, then nothing or rollback().
  void begin() { undo_.clear(); }
  void rollback() {
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
      if (undo->inserted) {
        rows_.erase(undo->at);
      } else {
        undo->at->second = std::move(undo->previous);
      }
    }
    undo_.clear();
  }

  // The batch is committed and applied: forget what it wrote last.
  void committed(uint64_t batch, std::string_view key) {
    const auto found = rows_.find(key);
    if (found != rows_.end() && found->second.batch == batch) {
      undo_.clear();
      rows_.erase(found);
    }
  }
  void committed_clear(uint64_t batch) {
    if (clear_batch_ == batch) clear_batch_ = 0;
  }
  // Leadership is gone.
  void drop() {
    undo_.clear();
    rows_.clear();
    clear_batch_ = 0;
  }

 private:
  struct Undo {
    Rows::iterator at;
    bool inserted;
    Row previous;
  };
  Rows rows_;
  std::vector<Undo> undo_;
  uint64_t clear_batch_ = 0;
};

}  // namespace cairn::server
