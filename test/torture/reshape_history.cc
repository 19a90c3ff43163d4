#include <algorithm>

#include "test/torture/entry.h"

namespace cairn::storage::test {
namespace {

// One tablet of the model: what its range held at every index since it began.
struct Part {
  std::string lo, hi;         // keys in [lo, hi); empty: open
  uint64_t base = 0;          // index it began at
  std::vector<Entry> log;     // behind the base
  std::vector<Model> states;  // after each index from the base on
  uint64_t known_flushed = 0;

  uint64_t last() const { return base + log.size(); }
  bool holds(std::string_view key) const { return key >= lo && (hi.empty() || key < hi); }
};
using World = std::map<RangeId, Part>;

Part begun(std::string lo, std::string hi, uint64_t base, Model rows) {
  Part part;
  part.lo = std::move(lo);
  part.hi = std::move(hi);
  part.base = part.known_flushed = base;
  part.states.push_back(std::move(rows));
  return part;
}

Model rows_between(const Model& rows, const std::string& lo, const std::string& hi) {
  return {rows.lower_bound(lo), hi.empty() ? rows.end() : rows.lower_bound(hi)};
}

class ReshapeHistory {
 public:
  ReshapeHistory(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts)
      : seed_(seed), counts_(counts), f_(seed), random_(f_.machine.random), points_(seed, options, counts) {
    draw_options(f_, false, 30'000);
    points_.watch(f_.fs, f_.faulty, [this](const MemoryFileSystem& disk) { check_crash(disk); });
  }

  void run() {
    points_.arm(false);
    open();
    require(f_.tablet(1) != nullptr, "the tablet cannot be made");
    parts_[{1}] = begun("", "", 0, {});
    points_.arm(true);
    for (int life = 0; life < 3; ++life) {
      for (uint64_t step = 0, steps = random_.between(50, 250); step < steps; ++step) one_step();
      restart();
    }
  }

 private:
  Tablet* tablet(RangeId range) { return f_.store->find(range); }
  RangeId some_part() { return std::next(parts_.begin(), static_cast<ptrdiff_t>(random_.below(parts_.size())))->first; }

  void open() {
    f_.options.strategy = some_strategy(random_);
    const auto opened = f_.open();
    require(bool(opened), "opening fails: " + (opened ? "" : to_string(opened.error())));
  }

  void restart() {
    note_flushed();
    require(!f_.fatal, "a fatal error without a fault");
    if (random_.chance(0.7)) {
      points_.power(false);
      f_.fs.crash(random_, {.reorder = random_.chance(0.5)});
    }
    points_.arm(false);
    f_.store.reset();
    f_.machine.settle();  // without a crash jobs come to their end after the store
    points_.power(true);
    open();
    check(f_, parts_);
    require(bool(f_.store->collect_garbage()), "garbage cannot be collected");
    replay(f_, parts_);
    points_.arm(true);
  }

  void note_flushed() {
    for (auto& [range, part] : parts_) {
      part.known_flushed = std::max(part.known_flushed, tablet(range)->flushed().index.value);
    }
  }

  // As they are right after they were opened.
  void check(TabletFixture& f, const World& world) {
    for (const auto& [range, part] : world) {
      Tablet* there = f.store->find(range);
      require(there != nullptr, "range " + std::to_string(range.value) + " is gone");
      require(!there->stats().corrupt, "corrupt: " + there->stats().corruption);
      const uint64_t flushed = there->flushed().index.value;
      require(flushed >= part.known_flushed && flushed <= part.last(), "flushed up to " + std::to_string(flushed));
      compare(f, range, part.states[flushed - part.base], "right after opening");
    }
    require(f.store->tablets().size() == world.size(), "a tablet too many");
  }

  void replay(TabletFixture& f, const World& world) {
    for (const auto& [range, part] : world) {
      for (size_t i = 0; i < part.log.size(); ++i) {
        replay_entry(f, f.store->find(range), part.base + i + 1, part.log[i]);
      }
      compare(f, range, part.states.back(), "after replay");
    }
  }

  void compare(TabletFixture& f, RangeId range, const Model& expected, const std::string& when) {
    ++counts_.operations;
    FetchRequest request;
    request.prefixes.resize(2);
    request.prefixes[1].reverse = true;
    const auto got = f.fetch(f.store->find(range), std::move(request));
    require(bool(got), "a fetch fails " + when);
    auto& forwards = got->prefixes[0];
    auto backwards = got->prefixes[1];
    std::ranges::reverse(backwards);
    require(Model(forwards.begin(), forwards.end()) == expected,
            "range " + std::to_string(range.value) + " differs " + when);
    require(forwards == backwards, "range " + std::to_string(range.value) + " differs backwards " + when);
  }

  // The disk after a power cut: as before what was under way, or as after it.
  void check_crash(const MemoryFileSystem& disk) {
    TabletFixture g(seed_ + counts_.outcomes);
    g.fs.copy_from(disk);
    g.options = f_.options;
    const auto opened = g.open();
    require(bool(opened), "opening fails: " + (opened ? "" : to_string(opened.error())));
    const World& world = after_ && g.store->tablets().size() == after_->size() ? *after_ : parts_;
    check(g, world);
    require(bool(g.store->collect_garbage()), "garbage cannot be collected");
    replay(g, world);
    for (const auto& [range, part] : world) g.store->find(range)->compact([](const Result<void>&) {});
    g.machine.settle();
    uint64_t live = 0;
    for (const auto& [range, part] : world) {
      compare(g, range, part.states.back(), "after a compaction of all");
      live += g.store->find(range)->stats().sstables;
    }
    require(g.fs.list("/data/sst")->size() == live, "a file is left that no tablet has");
    require(!g.fatal && g.corruptions.empty(), "errors after recovery");
  }

  void write(RangeId range) {
    Part& part = parts_.at(range);
    // What lies outside of the range is not for this tablet, but a deleted prefix may reach over its ends.
    const WriteBatch drawn = random_batch(random_);
    WriteBatch batch;
    BatchReader reader(drawn.bytes());
    Op op;
    while (reader.next(op)) {
      if (op.kind == OpKind::kPut && part.holds(op.key)) batch.put(op.key, op.value);
      if (op.kind == OpKind::kDelete && part.holds(op.key)) batch.remove(op.key);
      if (op.kind == OpKind::kPrefixDelete) batch.remove_prefix(op.key);
      if (op.kind == OpKind::kClear) batch.clear_all();
    }
    part.log.push_back({batch.bytes(), {}});
    part.states.push_back(part.states.back());
    counts_.operations += apply_to_model(part.states.back(), batch.bytes());
    require(bool(tablet(range)->apply(at(part.last()), batch.bytes())), "a write is refused");
  }

  void one_step() {
    note_flushed();
    const RangeId range = some_part();
    const uint64_t dice = random_.below(100);
    if (dice < 50) {
      write(range);
    } else if (dice < 70) {
      while (random_.chance(0.9) && f_.machine.step()) {
      }
    } else if (dice < 75) {
      tablet(range)->flush();
      if (random_.chance(0.3)) tablet(range)->set_strategy(some_strategy(random_));
    } else if (dice < 77) {
      tablet(range)->compact([](const Result<void>&) {});
    } else if (dice < 80) {
      ingest(range);
    } else if (dice < 86) {
      split(range);
    } else if (dice < 92) {
      merge(range);
    } else if (dice < 98) {
      check_rows(range);
    } else {
      for (const auto& [id, part] : parts_) compare(f_, id, part.states.back(), "on the way");
    }
  }

  void check_rows(RangeId range) {
    const Part& part = parts_.at(range);
    for (int i = 0; i < 10; ++i, ++counts_.operations) {
      const std::string key = some_key(random_);
      const auto it = part.states.back().find(key);
      const auto got = f_.read(tablet(range), key);
      require(got == (it == part.states.back().end() ? std::nullopt : std::optional(it->second)),
              "row " + key + " differs: " + got.value_or("(absent)"));
    }
  }

  // Until it is over, with writes to other tablets in between.
  Result<void> run_until_done(const std::optional<Result<void>>& done, const std::vector<RangeId>& busy) {
    while (!done) {
      const RangeId other = some_part();
      if (random_.chance(0.1) && std::ranges::find(busy, other) == busy.end() && parts_.at(other).log.size() < 500) {
        write(other);
        if (after_) (*after_)[other] = parts_.at(other);
      }
      require(f_.machine.step() || random_.chance(0.99), "it does not end");
    }
    return *done;
  }

  void ingest(RangeId range) {
    Part& part = parts_.at(range);
    const Changes changes = random_changes(random_, [&](const std::string& key) { return part.holds(key); });
    if (changes.empty()) return;
    std::vector<std::string> files = build_files(f_.faulty, random_, changes, files_built_);
    part.log.push_back({"", files});
    part.states.push_back(part.states.back());
    change_model(part.states.back(), changes);
    counts_.operations += changes.size();
    std::optional<Result<void>> done;
    tablet(range)->ingest(at(part.last()), files, [&](Result<void> r) { done = std::move(r); });
    const auto result = run_until_done(done, {range});
    require(bool(result), "files are not taken in: " + (result ? "" : to_string(result.error())));
    require(tablet(range)->flushed() == at(part.last()), "files were taken in at another position");
    compare(f_, range, part.states.back(), "right after files were taken in");
    for (const std::string& path : files) require(bool(f_.faulty.remove(path)), "a file cannot be removed");
    ++counts_.ingestions;
  }

  void split(RangeId range) {
    if (parts_.size() > 6) return;
    const Part& parent = parts_.at(range);
    std::string key = some_key(random_);
    if (random_.chance(0.4)) key.resize(random_.between(2, key.size()));
    if (!parent.holds(key) || key == parent.lo) return;
    const RangeId right{++last_id_};
    const RangeId left = random_.chance(0.3) ? range : RangeId{++last_id_};
    const Model& rows = parent.states.back();
    const uint64_t base = parent.last();
    after_ = parts_;
    after_->erase(range);
    (*after_)[left] = begun(parent.lo, key, base, rows_between(rows, parent.lo, key));
    (*after_)[right] = begun(key, parent.hi, base, rows_between(rows, key, parent.hi));
    std::optional<Result<void>> done;
    f_.store->split(range, key, left, right, [&](Result<void> r) { done = std::move(r); });
    const auto result = run_until_done(done, {range});
    require(bool(result), "a split fails: " + (result ? "" : to_string(result.error())));
    became(left, right);
  }

  void merge(RangeId range) {
    const auto lower = std::ranges::find_if(
        parts_, [&](const auto& entry) { return !entry.second.hi.empty() && entry.second.hi == parts_.at(range).lo; });
    if (lower == parts_.end()) return;
    const RangeId left = lower->first;
    const Part &a = lower->second, &b = parts_.at(range);
    const std::string key = b.lo;
    const RangeId ids[] = {left, range, RangeId{last_id_ + 1}};
    const RangeId merged = ids[random_.below(3)];
    last_id_ = std::max(last_id_, merged.value);
    Model rows = a.states.back();
    rows.insert(b.states.back().begin(), b.states.back().end());
    after_ = parts_;
    after_->erase(left);
    after_->erase(range);
    (*after_)[merged] = begun(a.lo, b.hi, std::max(a.last(), b.last()), std::move(rows));
    std::optional<Result<void>> done;
    f_.store->merge(left, range, key, merged, [&](Result<void> r) { done = std::move(r); });
    const auto result = run_until_done(done, {left, range});
    if (!result) {
      // A prefix that was deleted on one side has keys on the other.
      require(result.error().code == ErrorCode::kUnavailable, "a merge fails: " + to_string(result.error()));
      after_.reset();
      compare(f_, left, parts_.at(left).states.back(), "after a merge that was refused");
      return compare(f_, range, parts_.at(range).states.back(), "after a merge that was refused");
    }
    became(merged, merged);
  }

  void became(RangeId one, RangeId other) {
    parts_ = *std::exchange(after_, {});
    ++counts_.reshapes;
    require(f_.store->tablets().size() == parts_.size(), "not as many tablets as there should be");
    for (const RangeId range : {one, other}) {
      const Part& part = parts_.at(range);
      require(part.base == 0 || tablet(range)->applied() == at(part.base), "another position");
      for (const SstableInfo& info : tablet(range)->tables()) {
        // A deleted prefix may lie anywhere.
        require(part.hi.empty() || info.entries == 0 || info.smallest < part.hi, "a table begins behind its range");
        require(info.smallest <= info.largest, "a table ends before it begins");
      }
      compare(f_, range, part.states.back(), "right after it was made");
    }
  }

  const uint64_t seed_;
  HistoryCounts& counts_;
  TabletFixture f_;
  Random& random_;
  CrashPoints points_;
  World parts_;
  std::optional<World> after_;  // what is under way
  uint64_t last_id_ = 1;
  uint64_t files_built_ = 0;
};

}  // namespace

void run_reshape_history(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts) {
  run_named("reshape", seed, [&] { ReshapeHistory(seed, options, counts).run(); });
}

}  // namespace cairn::storage::test
