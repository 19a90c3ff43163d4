// A RowView over a std::map, for tests of evaluators and sessions. It can play a tablet whose rows are not in
// memory yet.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/random.h"
#include "server/commands/row_view.h"
#include "sharding/key_encoding.h"

namespace cairn::test {

// Thread safety: none.
class MemoryRows final : public server::RowView {
 public:
  using Rows = std::map<std::string, std::string, std::less<>>;

  uint64_t now = 1'700'000'000'000;  // ms
  bool cold = false;                 // every row must be fetched once before it can be read
  size_t effect_bytes = 0;           // of puts, since begin()
  bool knows_exploded = false;       // answer may_be_exploded() exactly
  uint64_t whole_max = ~0ull;        // longer strings are written in chunks
  uint32_t chunk_bytes = 16;

  const Rows& rows() const { return rows_; }
  size_t effects() const { return undo_.size(); }
  // Starts an evaluation: rollback() returns to here.
  void begin() {
    undo_.clear();
    drop_kept();
    effect_bytes = 0;
    version_before_ = version_;
  }
  void rollback() {
    for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
      if (it->second) {
        rows_[it->first] = *it->second;
      } else {
        rows_.erase(it->first);
      }
    }
    undo_.clear();
    version_ = version_before_;
  }
  // Brings in what the last evaluation missed.
  void fetch() {
    fetched_.merge(missing_);
    missing_.clear();
  }
  void cool() { fetched_.clear(); }
  size_t missing() const { return missing_.size(); }

  server::RowResult get(std::string_view row_key) override {
    if (miss(row_key)) return {server::RowState::kNeedsRows, {}};
    const auto it = rows_.find(row_key);
    if (it == rows_.end()) return {server::RowState::kAbsent, {}};
    return {server::RowState::kFound, it->second};
  }
  server::RowState scan(std::string_view prefix,
                        const std::function<bool(std::string_view, std::string_view)>& visit) override {
    if (miss(prefix)) return server::RowState::kNeedsRows;
    for (auto it = rows_.lower_bound(prefix); it != rows_.end() && it->first.starts_with(prefix); ++it) {
      if (!visit(it->first, it->second)) break;
    }
    return server::RowState::kFound;
  }
  server::RowState page(const storage::RowPage& page,
                        const std::function<bool(std::string_view, std::string_view)>& visit, PageEnd& end) override {
    if (miss(page.prefix + page.start_after)) return server::RowState::kNeedsRows;
    uint64_t rows = 0, bytes = 0;
    auto it = rows_.lower_bound(std::max(page.prefix, page.start_after));
    for (; it != rows_.end() && it->first.starts_with(page.prefix) && !page.full(rows, bytes);) {
      if (const std::string next = page.skipped_to(it->first); !next.empty()) {
        it = rows_.lower_bound(next);
        continue;
      }
      if (!page.before(it->first)) {
        ++rows;
        bytes += it->first.size() + page.cut(it->second).size();
        end.reached = it->first;
        if (!visit(it->first, page.cut(it->second))) return server::RowState::kFound;
      }
      ++it;
    }
    end.complete = !page.full(rows, bytes);
    return server::RowState::kFound;
  }
  uint64_t whole_bytes_max() const override { return whole_max; }
  server::ChunksWritten write_chunks(std::string_view key_prefix, uint64_t owner, std::string_view head,
                                     std::string_view tail) override {
    const std::string text = std::string(head) + std::string(tail);
    const uint64_t version = next_version();
    for (uint32_t i = 0; size_t{i} * chunk_bytes < text.size(); ++i) {
      std::string key;
      if (owner == 0) {
        sharding::append_chunk_prefix(key, key_prefix, version);
      } else {
        sharding::append_element_chunk_prefix(key, key_prefix, owner, version);
      }
      put_big_u32(key, i);
      put(key, std::string_view(text).substr(size_t{i} * chunk_bytes, chunk_bytes));
    }
    return {version, chunk_bytes};
  }
  Effects written() const override { return {effect_bytes, undo_.size()}; }
  // Every evaluation that writes is one moment; `leadership` is for tests of leaders that cannot tell.
  uint64_t leadership = 1;
  Moment watch(std::string_view) override { return {1, 1, leadership, moment_ + 1}; }
  bool changed_since(std::string_view key_prefix, const Moment& moment) override {
    if (moment.leadership != leadership) return true;
    const auto changed = changed_.lower_bound(key_prefix);
    return changed != changed_.end() && changed->first == key_prefix && changed->second > moment.number;
  }
  void commit() {
    ++moment_;
    for (const auto& [key, value] : undo_) changed_[std::string(sharding::key_prefix_of(key))] = moment_;
  }
  bool may_be_exploded(std::string_view meta_key) override {
    if (!knows_exploded) return true;
    const auto it = rows_.find(meta_key);
    return it != rows_.end() && !it->second.empty() && it->second[0] >= 3;
  }
  void put(std::string_view row_key, std::string_view value) override {
    auto it = rows_.lower_bound(row_key);
    effect_bytes += row_key.size() + value.size();
    if (it != rows_.end() && it->first == row_key) {
      if (recording) undo_.emplace_back(row_key, it->second);
      it->second = value;
    } else {
      if (recording) undo_.emplace_back(row_key, std::nullopt);
      rows_.emplace_hint(it, row_key, value);
    }
  }
  void remove(std::string_view row_key) override {
    const auto it = rows_.find(row_key);
    if (it == rows_.end()) return;
    if (recording) undo_.emplace_back(row_key, it->second);
    rows_.erase(it);
  }
  void remove_prefix(std::string_view prefix) override {
    auto it = rows_.lower_bound(prefix);
    while (it != rows_.end() && it->first.starts_with(prefix)) {
      if (recording) undo_.emplace_back(it->first, it->second);
      it = rows_.erase(it);
    }
  }
  void clear_all() override { remove_prefix({}); }
  uint64_t next_version() override { return ++version_; }
  uint64_t next_owner(std::string_view) override { return next_version(); }
  uint64_t now_ms() const override { return now; }
  uint64_t random() override { return random_.next(); }

  bool recording = true;  // off: rollback() is not possible, and steady state allocates nothing

 private:
  bool miss(std::string_view row_key) {
    if (!cold || fetched_.contains(row_key)) return false;
    missing_.emplace(row_key);
    return true;
  }

  Rows rows_;
  std::vector<std::pair<std::string, std::optional<std::string>>> undo_;
  std::map<std::string, uint64_t, std::less<>> changed_;
  uint64_t moment_ = 1;
  std::set<std::string, std::less<>> fetched_, missing_;
  SeededRandom random_{1};
  uint64_t version_ = 0;
  uint64_t version_before_ = 0;
};

}  // namespace cairn::test
