#include "server/replica/committed_rows.h"

#include <algorithm>
#include <functional>

#include "base/codec.h"

namespace cairn::server {
namespace {
constexpr uint64_t kRowsExpected = 64;  // of a page: memory is taken for at once

std::string page_name(const storage::RowPage& page) {
  std::string name;
  put_bytes(name, page.prefix);
  put_bytes(name, page.start_after);
  put_u8(name, page.start_included ? 1 : 0);
  put_varint(name, page.rows_max);
  put_varint(name, page.bytes_max);
  return name;
}
}  // namespace

void FetchedRows::add(std::vector<std::string> rows, const std::vector<storage::RowPage>& pages,
                      storage::FetchResult result) {
  for (size_t i = 0; i < rows.size() && i < result.rows.size(); ++i) {
    rows_[std::move(rows[i])] = std::move(result.rows[i]);
  }
  for (size_t i = 0; i < pages.size() && i < result.prefixes.size(); ++i) {
    pages_[page_name(pages[i])] = std::move(result.prefixes[i]);
  }
}

const std::optional<std::string>* FetchedRows::row(std::string_view key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &found->second;
}

const PageRows* FetchedRows::page(const storage::RowPage& page) const {
  const auto found = pages_.find(page_name(page));
  return found == pages_.end() ? nullptr : &found->second;
}

RowResult CommittedRows::get(std::string_view row_key) {
  storage::Lookup found = tablet_.get(row_key);
  switch (found.state) {
    case storage::Lookup::State::kFound:
      if (found.pin) pins_.push_back(std::move(found.pin));
      return {RowState::kFound, found.value};
    case storage::Lookup::State::kAbsent: return {RowState::kAbsent, {}};
    case storage::Lookup::State::kNeedsDisk: break;
  }
  if (const auto* row = fetched_ == nullptr ? nullptr : fetched_->row(row_key)) {
    if (!*row) return {RowState::kAbsent, {}};
    return {RowState::kFound, **row};
  }
  missing_.rows.emplace_back(row_key);
  return {RowState::kNeedsRows, {}};
}

const PageRows* CommittedRows::page(const storage::RowPage& page, PageRows& memory) {
  // The rows are collected first: a scan that breaks off for want of a block must not have visited anything.
  const auto collect = [&](std::string_view key, std::string_view value) {
    memory.emplace_back(key, value);
    return true;
  };
  memory.reserve(std::min(page.rows_max, kRowsExpected));
  if (scan_memory(page, collect)) return &memory;
  if (const PageRows* rows = fetched_ == nullptr ? nullptr : fetched_->page(page)) return rows;
  missing_.prefixes.push_back(page);
  return nullptr;
}

bool CommittedRows::scan_memory(const storage::RowPage& page,
                                const std::function<bool(std::string_view key, std::string_view value)>& visit) {
  const bool bounded = page.rows_max != ~0ull || page.bytes_max != ~0ull;
  return bounded ? tablet_.scan(page, visit) : tablet_.scan(page.prefix, page.start_after, visit);
}

RowState CommittedRows::visit(const storage::RowPage& page,
                              const std::function<bool(std::string_view key, std::string_view value)>& visit,
                              RowView::PageEnd& end) {
  if (fetched_ == nullptr) {
    uint64_t rows = 0, bytes = 0;
    const auto see = [&](std::string_view key, std::string_view value) {
      ++rows;
      bytes += key.size() + value.size();
      if (page.full(rows, bytes)) end.reached = key;
      return visit(key, value);
    };
    end.complete = scan_memory(page, std::ref(see));
    if (!end.complete) {
      missing_.prefixes.push_back(page);
      return RowState::kNeedsRows;
    }
    end.complete = !page.full(rows, bytes);
    return RowState::kFound;
  }
  PageRows memory;
  const PageRows* rows = this->page(page, memory);
  if (rows == nullptr) return RowState::kNeedsRows;
  end = page_end(page, *rows);
  (void)std::all_of(rows->begin(), rows->end(), [&](const auto& row) { return visit(row.first, row.second); });
  return RowState::kFound;
}

RowView::PageEnd page_end(const storage::RowPage& page, const PageRows& rows) {
  uint64_t bytes = 0;
  for (const auto& [key, value] : rows) bytes += key.size() + value.size();
  RowView::PageEnd end;
  end.complete = !page.full(rows.size(), bytes);
  if (!end.complete) end.reached = rows.back().first;
  return end;
}

}  // namespace cairn::server
