// What a command that only reads sees on a replica that follows: committed rows, nothing pending.
#pragma once

#include <algorithm>
#include <functional>

#include "server/replica/committed_rows.h"

namespace cairn::server {

// Followers never write: an evaluation that wants to (it met a key that is due), or that asks what only the leader
// knows, is void. For one evaluation. Not thread safe: on the loop of the tablet, which outlives it.
class FollowerView final : public RowView {
 public:
  // `leader_ms`: by the leader's clock, of a moment that is not over for longer than the read may be stale.
  FollowerView(storage::Tablet& tablet, const FetchedRows* fetched, uint64_t leader_ms,
               std::function<uint64_t()> random)
      : rows_(tablet), now_ms_(std::max(leader_ms, tablet.applied().time_ms)), random_(std::move(random)) {
    rows_.begin(fetched);
  }

  bool leader_wanted() const { return leader_wanted_; }
  storage::FetchRequest take_missing() { return rows_.take_missing(); }

  RowResult get(std::string_view row_key) override { return rows_.get(row_key); }
  RowState scan(std::string_view prefix,
                const std::function<bool(std::string_view key, std::string_view value)>& visit) override {
    PageEnd end;
    storage::RowPage all;
    all.prefix = prefix;
    return page(all, visit, end);
  }
  RowState page(const storage::RowPage& page,
                const std::function<bool(std::string_view key, std::string_view value)>& visit, PageEnd& end) override {
    return rows_.visit(page, visit, end);
  }

  void put(std::string_view, std::string_view) override { leader_wanted_ = true; }
  void remove(std::string_view) override { leader_wanted_ = true; }
  void remove_prefix(std::string_view) override { leader_wanted_ = true; }
  void clear_all() override { leader_wanted_ = true; }
  ChunksWritten write_chunks(std::string_view, uint64_t, std::string_view, std::string_view) override {
    leader_wanted_ = true;
    return {kChunksToCome, 1};
  }
  Effects written() const override { return {}; }
  Moment watch(std::string_view) override {
    leader_wanted_ = true;
    return {};
  }
  bool changed_since(std::string_view, const Moment&) override {
    leader_wanted_ = true;
    return true;
  }
  uint64_t next_version() override {
    leader_wanted_ = true;
    return 0;
  }
  uint64_t next_owner(std::string_view) override { return next_version(); }
  uint64_t now_ms() const override { return now_ms_; }
  uint64_t random() override { return random_(); }

 private:
  CommittedRows rows_;
  const uint64_t now_ms_;
  const std::function<uint64_t()> random_;
  bool leader_wanted_ = false;
};

}  // namespace cairn::server
