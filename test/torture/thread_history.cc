// The engine on real threads. What it does when is not drawn from the seed, what it answers is.
#include <algorithm>
#include <optional>

#include "test/torture/entry.h"
#include "test/torture/threads.h"

namespace cairn::storage::test {
namespace {

constexpr uint64_t kOutstandingMax = 8;  // fetches

class ThreadHistory {
 public:
  ThreadHistory(uint64_t seed, HistoryCounts& counts)
      : counts_(counts), random_(seed), loop_(clock_), pool_(std::make_unique<ThreadPool>(3)) {
    options_.memtable_bytes = random_.between(2'000, 30'000);
    options_.memtable_budget_bytes = 256 << 10;
    options_.block_cache_bytes = 64 << 10;
    options_.hot_row_bytes = 64 << 10;
    options_.block_bytes = static_cast<uint32_t>(random_.between(64, 2000));
    options_.compression = kCompressions[random_.below(std::size(kCompressions))];
    options_.strategy = some_strategy(random_);
    options_.compaction = some_compactions(random_);
    fs_.set_cold(random_.chance(0.5));
  }
  ~ThreadHistory() {
    pool_.reset();  // before the store, as in a node: no job runs on
    store_.reset();
  }

  void run() {
    open();
    for (uint64_t step = 0; step < 2000; ++step) one_step();
    await([&] { return outstanding_ == 0 && !ingesting_; });
    compare_all();
    check_moved();
  }

 private:
  Tablet* tablet() { return store_->find({1}); }
  uint64_t last() const { return states_.size() - 1; }
  const Model& present() { return states_[tablet()->applied().index.value]; }

  void open() {
    auto opened = TabletStore::open({.fs = &fs_,
                                     .background = pool_.get(),
                                     .loop = &loop_,
                                     .clock = &clock_,
                                     .reader = nullptr,
                                     .wait_log_durable = nullptr,
                                     .on_no_space = nullptr,
                                     .on_flushed = nullptr,
                                     .on_corruption = [this](RangeId, const Error& error) { broken_ = error; },
                                     .on_fatal = [this](const Error& error) { broken_ = error; }},
                                    "/data/shard-1", "/data/sst", "/data/snap", options_);
    require(bool(opened), "opening fails");
    store_ = std::move(*opened);
    require(bool(store_->create({1})), "the tablet cannot be made");
    require(bool(store_->collect_garbage()), "garbage cannot be collected");
    require(bool(fs_.create_dirs(kOutsideDir)), "no directory for files");
  }

  template <class Condition>
  void await(Condition holds) {
    const Instant patience = clock_.now() + 120 * kSecond;
    while (!holds()) {
      (void)loop_.run_one(true);
      require(clock_.now() < patience, "something that is under way does not end");
    }
    require(!broken_, broken_ ? to_string(*broken_) : "");
  }

  void one_step() {
    const uint64_t dice = random_.below(100);
    if (dice < 50) {
      write();
    } else if (dice < 65) {
      while (random_.chance(0.9) && loop_.run_one(outstanding_ > 0 || ingesting_ || moving_)) {
      }
    } else if (dice < 70) {
      tablet()->flush();
      if (random_.chance(0.3)) tablet()->set_strategy(some_strategy(random_));
    } else if (dice < 73) {
      ingest();
    } else if (dice < 75) {
      tablet()->compact([](const Result<void>&) {});
    } else if (dice < 77) {
      move_second();
    } else if (dice < 85) {
      fetch();
    } else if (dice < 87) {
      (void)store_->gauges();
      (void)store_->scrub(store_->tablets());
    } else {
      look_up(some_key(random_));
    }
  }

  void write() {
    if (ingesting_) return;
    const WriteBatch batch = random_batch(random_);
    states_.push_back(states_.back());
    counts_.operations += apply_to_model(states_.back(), batch.bytes());
    require(bool(tablet()->apply(at(last()), batch.bytes())), "a write is refused");
  }

  void ingest() {
    if (ingesting_) return;
    const Changes changes = random_changes(random_, [](const std::string&) { return true; });
    const std::vector<std::string> files = build_files(fs_, random_, changes, files_built_);
    states_.push_back(states_.back());
    change_model(states_.back(), changes);
    ingesting_ = true;
    tablet()->ingest(at(last()), files, [this](const Result<void>& result) {
      require(bool(result), "files are not taken in");
      ingesting_ = false;
      ++counts_.ingestions;
    });
  }

  void look_up(const std::string& key) {
    ++counts_.operations;
    const Lookup found = tablet()->get(key);
    if (found.state == Lookup::State::kNeedsDisk) return;
    const auto it = present().find(key);
    require(it == present().end() ? found.state == Lookup::State::kAbsent : found.value == it->second,
            "row " + key + " differs");
  }

  // It answers as of its end, whatever was written and taken in meanwhile.
  void fetch() {
    if (outstanding_ == kOutstandingMax) return;
    ++outstanding_;
    ++counts_.operations;
    FetchRequest request;
    const std::string key = some_key(random_);
    request.rows = {key};
    const bool whole = random_.chance(0.5);
    if (whole) request.prefixes.resize(1);
    tablet()->fetch(std::move(request), [this, key, whole](Result<FetchResult> got) {
      --outstanding_;
      require(bool(got), "a fetch fails");
      const auto it = present().find(key);
      require(got->rows[0] == (it == present().end() ? std::nullopt : std::optional(it->second)),
              "row " + key + " differs");
      if (whole) require(std::ranges::equal(got->prefixes[0], present(), same_row), "a fetch differs");
    });
  }
  static bool same_row(const std::pair<std::string, std::string>& a,
                       const std::pair<const std::string, std::string>& b) {
    return a.first == b.first && a.second == b.second;
  }

  // A snapshot of the tablet goes into a second one, which is dropped when it comes back.
  void move_second() {
    if (moving_) return;
    if (store_->find({2}) != nullptr) {
      require(bool(store_->drop({2})), "a tablet cannot be dropped");
      return;
    }
    moving_ = true;
    tablet()->checkpoint([this](Result<Checkpoint> made) {
      require(bool(made), "a snapshot fails");
      moved_ = states_[made->position.index.value];
      store_->install({2}, made->dir, made->manifest, made->position,
                      [this, dir = made->dir](const Result<void>& done) {
                        require(bool(done), "a snapshot is refused");
                        store_->remove_snapshot(dir);
                        moving_ = false;
                      });
    });
  }
  void check_moved() {
    await([&] { return !moving_; });
    if (store_->find({2}) != nullptr) compare({2}, moved_);
  }

  void compare_all() { compare({1}, states_.back()); }
  void compare(RangeId range, const Model& expected) {
    std::optional<Result<FetchResult>> got;
    FetchRequest request;
    request.prefixes.resize(1);
    store_->find(range)->fetch(std::move(request), [&](Result<FetchResult> r) { got = std::move(r); });
    await([&] { return got.has_value(); });
    require(bool(*got), "a fetch fails at the end");
    require(std::ranges::equal((*got)->prefixes[0], expected, same_row), "rows differ at the end");
  }

  HistoryCounts& counts_;
  SeededRandom random_;
  MemoryFileSystem fs_;  // outlives what the loop still has
  SteadyClock clock_;
  ThreadLoop loop_;
  std::unique_ptr<ThreadPool> pool_;
  TabletStoreOptions options_;
  std::unique_ptr<TabletStore> store_;
  std::vector<Model> states_{{}};  // after each index
  Model moved_;                    // what the second tablet holds
  std::optional<Error> broken_;
  uint64_t files_built_ = 0, outstanding_ = 0;
  bool ingesting_ = false, moving_ = false;
};

}  // namespace

void run_thread_history(uint64_t seed, HistoryCounts& counts) {
  run_named("thread", seed, [&] { ThreadHistory(seed, counts).run(); });
}

}  // namespace cairn::storage::test
