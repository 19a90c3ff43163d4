// The committed rows that one evaluation after another reads: from memory, else as they were fetched from disk for it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/commands/row_view.h"
#include "storage/tablet.h"

namespace cairn::server {

using PageRows = std::vector<std::pair<std::string, std::string>>;

// What fetches have brought for one command.
class FetchedRows {
 public:
  // `asked`: the rows and pages of the request that `result` answers, in its order.
  void add(std::vector<std::string> rows, const std::vector<storage::RowPage>& pages, storage::FetchResult result);
  void clear() {
    rows_.clear();
    pages_.clear();
  }
  // Null: not fetched. Null inside: the row is absent.
  const std::optional<std::string>* row(std::string_view key) const;
  const PageRows* page(const storage::RowPage& page) const;

 private:
  std::map<std::string, std::optional<std::string>, std::less<>> rows_;
  std::map<std::string, PageRows, std::less<>> pages_;  // by name, equal for pages that ask for the same rows
};

// Not thread safe: on the loop of the tablet, which outlives it.
class CommittedRows {
 public:
  explicit CommittedRows(storage::Tablet& tablet) : tablet_(tablet) {}

  // An evaluation; `fetched` (may be null) outlives it. What get() gave is valid until end().
  void begin(const FetchedRows* fetched) { fetched_ = fetched; }
  void end() {
    fetched_ = nullptr;
    pins_.clear();
  }
  RowResult get(std::string_view row_key);
  // The rows of a page: in `memory`, or as they were fetched. Null: to be fetched.
  const PageRows* page(const storage::RowPage& page, PageRows& memory);
  // Visits the rows of a page, in memory without copying them. kNeedsRows: to be fetched; what was visited is void
  // then.
  RowState visit(const storage::RowPage& page,
                 const std::function<bool(std::string_view key, std::string_view value)>& visit, RowView::PageEnd& end);
  const FetchedRows* fetched() const { return fetched_; }
  bool misses() const { return !missing_.rows.empty() || !missing_.prefixes.empty(); }

  // What the evaluations since the last call have missed.
  storage::FetchRequest take_missing() { return std::exchange(missing_, {}); }

 private:
  bool scan_memory(const storage::RowPage& page,
                   const std::function<bool(std::string_view key, std::string_view value)>& visit);

  storage::Tablet& tablet_;
  const FetchedRows* fetched_ = nullptr;
  storage::FetchRequest missing_;
  std::vector<std::shared_ptr<const void>> pins_;
};

// How far `rows`, all that is committed of the page, go.
RowView::PageEnd page_end(const storage::RowPage& page, const PageRows& rows);

}  // namespace cairn::server
