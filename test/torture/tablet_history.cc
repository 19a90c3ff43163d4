#include <algorithm>
#include <ranges>

#include "test/torture/entry.h"

namespace cairn::storage::test {
namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;

std::string some_prefix(Random& random) {
  return random.chance(0.3) ? "" : "c" + std::to_string(random.below(12)) + "/";
}

// Of the rows "cX/1..." none is wanted.
std::string skip_ones(std::string_view key) {
  const size_t slash = key.find('/');
  return key.substr(slash).starts_with("/1") ? std::string(key.substr(0, slash)) + "/2" : std::string();
}

Rows page_of(const Model& model, const RowPage& page) {
  Rows expected;
  uint64_t bytes = 0;
  const auto take = [&](const auto& row) {
    const auto& [key, value] = row;
    const bool from_start = page.start_after.empty() || page.in_order(page.start_after, key) ||
                            (page.start_included && key == page.start_after);
    if (!key.starts_with(page.prefix) || !from_start || page.full(expected.size(), bytes)) return;
    if (!page.skipped_to(key).empty()) return;
    bytes += key.size() + page.cut(value).size();
    expected.emplace_back(key, page.cut(value));
  };
  if (page.reverse) {
    std::for_each(model.rbegin(), model.rend(), take);
  } else {
    std::for_each(model.begin(), model.end(), take);
  }
  return expected;
}

RowPage some_page(Random& random) {
  RowPage page;
  page.prefix = some_prefix(random);
  page.start_after = random.chance(0.5) ? "" : page.prefix + std::to_string(random.below(60));
  page.start_included = random.chance(0.5);
  page.rows_max = random.chance(0.3) ? ~0ull : random.between(1, 20);
  page.bytes_max = random.chance(0.5) ? ~0ull : random.between(1, 1000);
  page.value_bytes_max = random.chance(0.5) ? ~0ull : random.below(50);
  page.reverse = random.chance(0.5);
  if (random.chance(0.7)) page.skip = &skip_ones;
  return page;
}

// What the second tablet may hold: one of these; nullopt: it does not exist.
using Possible = std::vector<std::optional<Model>>;

class TabletHistory {
 public:
  TabletHistory(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts)
      : seed_(seed), counts_(counts), f_(seed), random_(f_.machine.random), points_(seed, options, counts) {
    draw_options(f_, true, 60'000);
    f_.options.hot_row_bytes = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 4 << 10 : 1 << 20;
    points_.watch(f_.fs, f_.faulty, [this](const MemoryFileSystem& disk) { check_crash(disk); });
  }

  void run() {
    for (int life = 0; life < 4; ++life) {
      begin_life();
      for (uint64_t step = 0, steps = random_.between(20, 300); step < steps; ++step) one_step();
      end_life();
    }
  }

 private:
  uint64_t last() const { return log_.size() - 1; }
  Tablet* tablet() { return f_.store->find({1}); }

  void begin_life() {
    f_.options.strategy = some_strategy(random_);
    const auto opened = f_.open();
    require(bool(opened), "opening fails: " + (opened ? "" : to_string(opened.error())));
    Tablet* tablet = f_.tablet();
    require(tablet != nullptr, "the tablet cannot be made");
    created_ = true;
    check_recovered(f_, f_.log_always_durable ? last() : f_.log_durable.value);
    check_second(f_);
    require(bool(f_.store->collect_garbage()), "garbage cannot be collected");
    const uint64_t flushed = tablet->flushed().index.value;
    known_flushed_ = flushed;
    if (!f_.log_always_durable) {  // the log lost what was not durable
      log_.resize(std::min<size_t>(log_.size(), std::max(flushed, f_.log_durable.value) + 1));
      states_.resize(log_.size());
    }
    for (uint64_t i = 1; i < log_.size(); ++i) replay_entry(f_, tablet, i, log_[i]);
    require(f_.everything(tablet) == states_.back(), "rows differ after replay");
  }

  void end_life() {
    known_flushed_ = std::max(known_flushed_, tablet()->flushed().index.value);
    require(!f_.fatal, "a fatal error without a fault");
    require(f_.corruptions.empty(), "corruption without a fault");
    if (random_.chance(0.2)) come_to_rest();
    if (random_.chance(0.7)) {
      points_.power(false);
      f_.fs.crash(random_, {.reorder = random_.chance(0.5)});
    }
    points_.arm(false);
    ingesting_ = false;
    f_.store.reset();
    f_.machine.settle();  // without a crash jobs come to their end after the store
    points_.power(true);
    checkpoint_.reset();
    points_.arm(true);
  }

  // What the tablet shows right after it was opened; `durable`: index up to which the log is.
  void check_recovered(TabletFixture& f, uint64_t durable) {
    Tablet* tablet = f.store->find({1});
    if (tablet == nullptr) return require(!created_, "the tablet is gone");
    const uint64_t flushed = tablet->flushed().index.value;
    require(!tablet->stats().corrupt, "corrupt: " + tablet->stats().corruption);
    require(flushed >= known_flushed_, "flushed rows are gone");
    require(flushed <= last(), "an index that nobody wrote");
    require(flushed <= durable, "a table is ahead of the log");
    require(f.everything(tablet) == states_[flushed], "rows differ at the flushed index " + std::to_string(flushed));
    if (flushed > 0) require(tablet->applied() == at(flushed), "another position");
  }

  void check_second(TabletFixture& f) {
    Tablet* second = f.store->find({2});
    std::optional<Model> rows;
    if (second != nullptr) rows = f.everything(second);
    require(std::ranges::find(second_, rows) != second_.end(), "the second tablet has other rows");
    if (&f == &f_) second_ = {rows};
  }

  // The disk after a power cut: recovered, replayed, written on, compacted and opened again.
  void check_crash(const MemoryFileSystem& disk) {
    TabletFixture g(seed_ + counts_.outcomes);
    g.fs.copy_from(disk);
    g.options = f_.options;
    const auto opened = g.open();
    require(bool(opened), "opening fails: " + (opened ? "" : to_string(opened.error())));
    const uint64_t durable = f_.log_always_durable ? last() : f_.log_durable.value;
    check_recovered(g, durable);
    check_second(g);
    require(bool(g.store->collect_garbage()), "garbage cannot be collected");
    Tablet* tablet = g.tablet();
    require(tablet != nullptr, "the tablet cannot be made");
    const uint64_t end = std::max(tablet->flushed().index.value, durable);
    for (uint64_t i = 1; i <= end; ++i) replay_entry(g, tablet, i, log_[i]);
    require(g.everything(tablet) == states_[end], "rows differ after replay");
    tablet->flush();
    g.machine.settle();
    require(g.everything(tablet) == states_[end], "rows differ after a flush");
    check_files(g);
    require(!g.fatal && g.corruptions.empty(), "errors after recovery");
  }

  // No file is left that no tablet has.
  void check_files(TabletFixture& g) {
    uint64_t live = 0;
    for (const RangeId range : g.store->tablets()) live += g.store->find(range)->stats().sstables;
    const uint64_t there = g.fs.list("/data/sst")->size();
    require(there == live, std::to_string(there) + " files for " + std::to_string(live) + " tables");
  }

  void ingest_somehow() {
    if (random_.chance(0.8)) return ingest();
    if (random_.chance(0.5)) return ingest_in_vain();
    remove_outside();
  }

  // Everything that is under way ends, and everything that is done with is gone.
  void come_to_rest() {
    f_.log_reaches({last()});
    f_.machine.settle();
    require(!ingesting_, "files that are taken in never come");
    require(f_.everything(tablet()) == states_.back(), "rows differ at rest");
    check_files(f_);
  }

  // What reads see: files that are being taken in show when they are, all at once.
  const Model& present() { return states_[tablet()->applied().index.value]; }

  void write() {
    const WriteBatch batch = random_batch(random_);
    if (ingesting_) {
      const auto refused = tablet()->apply(at(last() + 1), batch.bytes());
      return require(!refused && refused.error().code == ErrorCode::kUnavailable, "a write beside an ingestion");
    }
    log_.push_back({batch.bytes(), {}});
    states_.push_back(states_.back());
    counts_.operations += apply_to_model(states_.back(), batch.bytes());
    require(bool(tablet()->apply(at(last()), batch.bytes())), "a write is refused");
  }

  void ingest() {
    if (ingesting_) return;
    const Changes changes = random_changes(random_, [](const std::string&) { return true; });
    std::vector<std::string> files = build_files(f_.faulty, random_, changes, files_built_);
    log_.push_back({"", files});
    states_.push_back(states_.back());
    change_model(states_.back(), changes);
    counts_.operations += changes.size();
    ingesting_ = true;
    tablet()->ingest(at(last()), std::move(files), [this, index = last()](const Result<void>& result) {
      if (!std::exchange(ingesting_, false)) return;  // it came to an end with the process
      require(bool(result), "files are not taken in: " + (result ? "" : to_string(result.error())));
      require(tablet()->flushed() == at(index), "files were taken in at another position");
      ++counts_.ingestions;
    });
  }

  // Files that overlap are refused, and nothing has changed.
  void ingest_in_vain() {
    if (ingesting_ || !f_.log_always_durable || last() == 0) return;
    const std::string key = some_key(random_);
    std::vector<std::string> files = build_files(f_.faulty, random_, {{key, "1"}}, files_built_);
    for (std::string& path : build_files(f_.faulty, random_, {{key, "2"}}, files_built_))
      files.push_back(std::move(path));
    std::optional<Result<void>> done;
    tablet()->ingest(at(last() + 1), files, [&](Result<void> result) { done = std::move(result); });
    while (!done) require(f_.machine.step(), "an ingestion does not end");
    require(!*done && done->error().code == ErrorCode::kInvalidArgument, "files that overlap are taken in");
    require(tablet()->applied() == at(last()), "files that were refused have moved the position");
    for (const std::string& path : files) require(bool(f_.faulty.remove(path)), "a file cannot be removed");
  }

  // What lies in the tablet for good is not needed outside any more.
  void remove_outside() {
    for (uint64_t i = 1; i <= known_flushed_; ++i) {
      for (const std::string& path : log_[i].files) {
        if (f_.faulty.exists(path).value_or(false)) require(bool(f_.faulty.remove(path)), "a file cannot be removed");
      }
    }
  }

  void one_step() {
    known_flushed_ = std::max(known_flushed_, tablet()->flushed().index.value);
    const uint64_t dice = random_.below(100);
    if (dice < 43) {
      write();
    } else if (dice < 45) {
      ingest_somehow();
    } else if (dice < 60) {
      while (random_.chance(0.9) && f_.machine.step()) {
      }
    } else if (dice < 64) {
      tablet()->flush();
      if (random_.chance(0.3)) tablet()->set_strategy(some_strategy(random_));
    } else if (dice < 71) {
      f_.log_reaches({random_.between(f_.log_durable.value, last())});
    } else if (dice < 72) {
      move_second();
    } else if (dice < 90) {
      check_point(some_key(random_));
    } else if (dice < 97) {
      check_page(some_page(random_));
      check_scan(some_prefix(random_), random_.chance(0.5) ? ~0ull : random_.between(1, 20));
    } else {
      check_fetch_beside_writes();
    }
  }

  // Makes a snapshot, installs the one that is made, or drops what was installed.
  void move_second() {
    const uint64_t dice = random_.below(10);
    if (checkpoint_) {
      install();
    } else if (dice < 3) {
      if (f_.store->find({2}) == nullptr) return;
      second_.push_back(std::nullopt);
      require(bool(f_.store->drop({2})), "a tablet cannot be dropped");
      second_ = {std::nullopt};
    } else {
      tablet()->checkpoint([this](Result<Checkpoint> made) {
        if (made) checkpoint_ = std::move(*made);
      });
    }
  }

  void install() {
    const Model& rows = states_[checkpoint_->position.index.value];
    second_.emplace_back(rows);
    if (f_.store->find({2}) == nullptr) second_.emplace_back(Model());  // made, and still empty
    std::optional<Result<void>> installed;
    f_.store->install({2}, checkpoint_->dir, checkpoint_->manifest, checkpoint_->position,
                      [&](Result<void> result) { installed = std::move(result); });
    while (!installed) require(f_.machine.step(), "an installation does not end");
    require(bool(*installed), "a snapshot is refused");
    second_ = {rows};
    require(f_.everything(f_.store->find({2})) == rows, "the installed tablet has other rows");
    require(bool(remove_tree(f_.faulty, checkpoint_->dir)), "a snapshot cannot be removed");
    checkpoint_.reset();
    ++counts_.operations;
  }

  void check_point(const std::string& key) {
    ++counts_.operations;
    const auto got = f_.read(tablet(), key);
    const auto it = present().find(key);
    require(got == (it == present().end() ? std::nullopt : std::optional(it->second)),
            "row " + key + " differs: " + got.value_or("(absent)"));
  }

  void check_scan(const std::string& prefix, uint64_t rows_max) {
    ++counts_.operations;
    RowPage page;
    page.prefix = prefix;
    page.rows_max = rows_max;
    Rows seen;
    const bool in_memory = tablet()->scan(prefix, "", [&](std::string_view key, std::string_view value) {
      if (seen.size() == rows_max) return false;
      seen.emplace_back(key, value);
      return true;
    });
    if (in_memory) require(seen == page_of(present(), page), "a scan of \"" + prefix + "\" differs");
  }

  void check_page(const RowPage& page) {
    ++counts_.operations;
    Rows seen;
    const bool in_memory = tablet()->scan(page, [&](std::string_view key, std::string_view value) {
      seen.emplace_back(key, value);
      return true;
    });
    if (in_memory) require(seen == page_of(present(), page), "a page differs in memory");
    FetchRequest request;
    request.prefixes.push_back(page);
    auto fetched = f_.fetch(tablet(), std::move(request));
    require(bool(fetched), "a fetch fails");
    require(fetched->prefixes[0] == page_of(present(), page), "a page differs from disk");
  }

  // It answers as of its end.
  void check_fetch_beside_writes() {
    ++counts_.operations;
    FetchRequest request;
    request.prefixes.resize(2);
    request.prefixes[1].reverse = true;
    std::optional<Result<FetchResult>> answer;
    tablet()->fetch(std::move(request), [&](Result<FetchResult> r) { answer = std::move(r); });
    while (!answer) {
      if (random_.chance(0.3) && log_.size() < 3000) {
        random_.chance(0.1) ? ingest() : write();
        if (random_.chance(0.3)) tablet()->flush();
        if (random_.chance(0.3)) f_.log_reaches({last()});
      }
      require(f_.machine.step() || log_.size() < 3000, "a fetch does not end");
    }
    require(bool(*answer), "a fetch fails");
    require((*answer)->prefixes[0] == page_of(present(), {}), "a fetch beside writes differs");
    require(std::ranges::equal((*answer)->prefixes[1] | std::views::reverse, (*answer)->prefixes[0]),
            "backwards it is not the same");
  }

  const uint64_t seed_;
  HistoryCounts& counts_;
  TabletFixture f_;
  Random& random_;
  CrashPoints points_;
  std::vector<Entry> log_{{}};     // by index
  std::vector<Model> states_{{}};  // after each index
  uint64_t known_flushed_ = 0;
  uint64_t files_built_ = 0;
  bool ingesting_ = false;  // the last entry
  bool created_ = false;
  Possible second_{std::nullopt};
  std::optional<Checkpoint> checkpoint_;
};

}  // namespace

void run_tablet_history(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts) {
  run_named("tablet", seed, [&] { TabletHistory(seed, options, counts).run(); });
}

}  // namespace cairn::storage::test
