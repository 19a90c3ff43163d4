// Tablets that are dropped, created or replaced while jobs of theirs are under way: flushes, compactions, ingestions,
// installations of snapshots, splits and merges.
#include <catch2/catch.hpp>

#include "storage/sstable/ingest_file.h"
#include "tablet_fixture.h"

using namespace cairn;
using namespace cairn::storage;
using namespace cairn::storage::test;

namespace {

std::string key(uint64_t i) { return "key" + std::to_string(1000 + i); }

struct Going : TabletFixture {
  uint64_t index = 0;

  explicit Going(uint64_t seed = 1) : TabletFixture(seed) {
    options.strategy = StrategyKind::kStcs;
    REQUIRE(open());
    REQUIRE(fs.create_dirs("/outside"));
  }
  void put_rows() {
    for (uint64_t i = 0; i < 20; ++i) put(tablet(), ++index, key(i), std::string(100, 'v'));
  }
  // The third table makes a compaction begin; with `ingestion` a file is taken in instead.
  void begin(bool ingestion) {
    for (int round = 0; round < 2; ++round) {
      put_rows();
      tablet()->flush();
      machine.settle();
    }
    put_rows();
    if (!ingestion) return tablet()->flush();
    auto file = IngestFile::create(fs, "/outside/1", {});
    REQUIRE(file);
    REQUIRE((*file)->put(key(3), "taken in"));
    REQUIRE((*file)->finish());
    tablet()->ingest(at(++index), {"/outside/1"}, [](const Result<void>&) {});
  }
  uint64_t files() { return fs.list("/data/sst")->size(); }
  // Of another tablet, that has one row.
  Checkpoint other(uint64_t range = 2, const std::string& value = "other") {
    put(tablet(range), 1, "k", value);
    std::optional<Result<Checkpoint>> made;
    tablet(range)->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
    machine.settle();
    REQUIRE((made && *made));
    return std::move(**made);
  }
  std::optional<Result<void>> done;  // of an installation, a split or a merge
  void install(const Checkpoint& snapshot) {
    store->install({1}, snapshot.dir, snapshot.manifest, at(1000), [this](Result<void> r) { done = std::move(r); });
  }
  bool refused() const { return done && !*done && done->error().code == ErrorCode::kUnavailable; }
  // What the tablets hold, by range.
  std::map<uint64_t, std::map<std::string, std::string>> contents() {
    std::map<uint64_t, std::map<std::string, std::string>> all;
    for (const RangeId range : store->tablets()) all[range.value] = everything(store->find(range));
    return all;
  }
  // Every file belongs to a tablet, and after a restart all is as it was.
  void check_lasts() {
    uint64_t tables = 0;
    for (const RangeId range : store->tablets()) tables += store->find(range)->stats().sstables;
    REQUIRE(files() == tables);
    REQUIRE_FALSE(fatal);
    const auto before = contents();
    REQUIRE(open());
    REQUIRE(corruptions.empty());
    REQUIRE(contents() == before);
    REQUIRE(files() == tables);
  }
};

// Runs something right before the next task is posted.
class InterruptedLoop final : public Executor {
 public:
  explicit InterruptedLoop(Executor& inner) : inner_(inner) {}
  void before_next(Task task) { before_ = std::move(task); }
  void post(Task task) override {
    if (before_) std::exchange(before_, nullptr)();
    inner_.post(std::move(task));
  }
  TimerId run_after(Duration delay, Task task) override { return inner_.run_after(delay, std::move(task)); }
  void cancel(TimerId timer) override { inner_.cancel(timer); }

 private:
  Executor& inner_;
  Task before_;
};

// Calls `test` with a fixture of its own for every number of steps that what `begin` begins takes: its second argument
// begins that and does so many of them.
template <class Begin, class Test>
void at_any_moment(Begin begin, Test test) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    bool more = true;
    for (uint64_t steps = 0; more; ++steps) {
      INFO("seed " << seed << " steps " << steps);
      Going f(seed);
      test(f, [&] {
        begin(f);
        for (uint64_t n = 0; n < steps && more; ++n) more = f.machine.step();
      });
    }
  }
}

// A compaction, or an ingestion.
auto writing() {
  return [ingestion = GENERATE(false, true)](Going& f) { f.begin(ingestion); };
}

const std::map<std::string, std::string> kOther{{"k", "other"}};

}  // namespace

TEST_CASE("a tablet that is dropped at any moment leaves no file behind") {
  at_any_moment(writing(), [](Going& f, const auto& go_on) {
    go_on();
    REQUIRE(f.store->drop({1}));
    f.machine.settle();
    REQUIRE(f.files() == 0);
    REQUIRE_FALSE(f.fatal);
  });
}

TEST_CASE("a tablet that a snapshot replaces at any moment leaves no file behind") {
  at_any_moment(writing(), [](Going& f, const auto& go_on) {
    const Checkpoint snapshot = f.other();
    go_on();
    f.install(snapshot);
    f.machine.settle();
    REQUIRE((f.done && *f.done));
    REQUIRE(f.everything(f.tablet()) == kOther);
    REQUIRE(f.files() == 2);  // one of each
    REQUIRE_FALSE(f.fatal);
    put(f.tablet(), 1001, "k", "goes on");
    f.tablet()->flush();
    f.machine.settle();
    REQUIRE(f.tablet()->flushed().index.value == 1001);
  });
}

TEST_CASE("a range that is dropped at any moment of an installation stays dropped") {
  const bool was_there = GENERATE(false, true);
  const bool comes_again = GENERATE(false, true);
  std::optional<Checkpoint> snapshot;
  const auto begin = [&](Going& f) {
    snapshot = f.other();
    if (was_there) f.put_rows();
    if (was_there) f.tablet()->flush();
    f.machine.settle();
    f.install(*snapshot);
  };
  at_any_moment(begin, [&](Going& f, const auto& go_on) {
    go_on();
    const bool installed = f.done.has_value();
    REQUIRE(f.store->drop({1}));
    REQUIRE(f.store->find({1}) == nullptr);
    if (comes_again) put(f.tablet(), 1, "k", "new");
    f.machine.settle();
    REQUIRE((installed ? f.done->has_value() : f.refused()));
    REQUIRE((f.store->find({1}) != nullptr) == comes_again);
    if (comes_again) {
      f.tablet()->flush();
      f.machine.settle();
      REQUIRE(f.everything(f.tablet()) == std::map<std::string, std::string>{{"k", "new"}});
    }
    f.check_lasts();
  });
}

TEST_CASE("a drop while another thread commits an installation is durable before it returns") {
  Going f;
  InterruptedLoop loop(f.machine.loop);
  f.loop = &loop;
  REQUIRE(f.open());
  const Checkpoint snapshot = f.other();
  f.install(snapshot);
  bool between = false;
  loop.before_next([&] {
    between = true;
    REQUIRE(f.store->drop({1}));
  });
  f.machine.settle();
  REQUIRE(between);
  CHECK(f.refused());
  CHECK(f.store->find({1}) == nullptr);
  f.check_lasts();
  f.store.reset();
}

TEST_CASE("who creates a range while a snapshot is installed into it gets the one or the other, never two of them") {
  std::optional<Checkpoint> snapshot;
  const auto begin = [&](Going& f) {
    snapshot = f.other();
    f.install(*snapshot);
  };
  at_any_moment(begin, [&](Going& f, const auto& go_on) {
    go_on();
    const auto made = f.store->create({1});
    REQUIRE((made || made.error().code == ErrorCode::kUnavailable));
    if (made && !f.done) put(*made, 1, "k", "early");
    f.machine.settle();
    REQUIRE((f.done && *f.done));
    REQUIRE(f.everything(f.tablet()) == kOther);
    f.check_lasts();
  });
}

TEST_CASE("of two installations into one range the manifest and the store keep the same") {
  std::vector<Checkpoint> snapshots;
  const auto begin = [&](Going& f) {
    snapshots = {f.other(2, "two"), f.other(3, "three")};
    f.install(snapshots[0]);
  };
  at_any_moment(begin, [&](Going& f, const auto& go_on) {
    go_on();
    std::optional<Result<void>> second;
    f.store->install({1}, snapshots[1].dir, snapshots[1].manifest, at(2000),
                     [&](Result<void> r) { second = std::move(r); });
    f.machine.settle();
    REQUIRE((f.done && second));
    REQUIRE((*f.done || *second));
    f.check_lasts();
  });
}

TEST_CASE("what is being split or merged is neither dropped, nor created, nor replaced") {
  const bool merges = GENERATE(false, true);
  std::optional<Checkpoint> snapshot;
  const auto begin = [&](Going& f) {
    snapshot = f.other(9);
    f.put_rows();
    f.tablet()->flush();
    f.machine.settle();
    const auto done = [&f](Result<void> r) { f.done = std::move(r); };
    f.store->split({1}, key(10), {1}, {5}, done);
    if (!merges) return;
    f.machine.settle();
    REQUIRE((f.done && *f.done));
    f.done.reset();
    f.store->merge({1}, {5}, key(10), {1}, done);
  };
  at_any_moment(begin, [&](Going& f, const auto& go_on) {
    go_on();
    std::vector<Result<void>> refused;
    const uint64_t asked = f.done ? 0 : 2;
    for (uint64_t n = 0; n < asked; ++n) {
      const RangeId range{n == 0 ? 1u : 5u};
      REQUIRE(f.store->drop(range).error().code == ErrorCode::kUnavailable);
      f.store->install(range, snapshot->dir, snapshot->manifest, at(1000),
                       [&](Result<void> r) { refused.push_back(std::move(r)); });
    }
    if (asked > 0 && !merges) REQUIRE(f.store->create({5}).error().code == ErrorCode::kUnavailable);
    f.machine.settle();
    REQUIRE((f.done && *f.done));
    REQUIRE(refused.size() == asked);
    for (const auto& result : refused) REQUIRE((!result && result.error().code == ErrorCode::kUnavailable));
    uint64_t rows = 0;
    for (const auto& [range, all] : f.contents()) rows += all.size();
    REQUIRE(rows == 21);
    f.check_lasts();
    REQUIRE(f.store->drop({1}));  // afterwards it may
    f.machine.settle();
    f.check_lasts();
  });
}

TEST_CASE("a flush that comes to the manifest between a snapshot's edit and its report is void") {
  Going f;
  InterruptedLoop loop(f.machine.loop);
  f.loop = &loop;
  REQUIRE(f.open());
  const Checkpoint snapshot = f.other();
  f.put_rows();
  f.log_always_durable = false;
  f.tablet()->flush();
  f.machine.settle();
  REQUIRE(f.waiting.size() == 1);  // the table is written, but not yet in the manifest
  f.install(snapshot);
  bool between = false;
  loop.before_next([&] {
    between = true;
    f.log_reaches({f.index});
    while (f.machine.background.run_one()) {  // on another thread
    }
  });
  f.machine.settle();
  REQUIRE((between && f.done && *f.done));
  CHECK(f.everything(f.tablet()) == kOther);
  CHECK(f.files() == 2);
  f.log_always_durable = true;
  put(f.tablet(), 1001, "k", "goes on");
  f.tablet()->flush();
  f.machine.settle();
  CHECK(f.tablet()->flushed().index.value == 1001);
  f.store.reset();
}
