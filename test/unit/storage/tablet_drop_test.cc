// Tablets that are dropped or replaced while flushes, compactions and ingestions of theirs are under way.
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
  // Of a second tablet that has one row.
  Checkpoint other() {
    put(tablet(2), 1, "k", "other");
    std::optional<Result<Checkpoint>> made;
    tablet(2)->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
    machine.settle();
    REQUIRE((made && *made));
    return std::move(**made);
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

// Calls `test` with a fixture of its own for every number of steps that a compaction, or an ingestion, takes: its
// second argument begins that and does so many of them.
template <class Test>
void at_any_moment(Test test) {
  const bool ingestion = GENERATE(false, true);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    bool more = true;
    for (uint64_t steps = 0; more; ++steps) {
      INFO("seed " << seed << " steps " << steps);
      Going f(seed);
      test(f, [&] {
        f.begin(ingestion);
        for (uint64_t n = 0; n < steps && more; ++n) more = f.machine.step();
      });
    }
  }
}

}  // namespace

TEST_CASE("a tablet that is dropped at any moment leaves no file behind") {
  at_any_moment([](Going& f, const auto& go_on) {
    go_on();
    REQUIRE(f.store->drop({1}));
    f.machine.settle();
    REQUIRE(f.files() == 0);
    REQUIRE_FALSE(f.fatal);
  });
}

TEST_CASE("a tablet that a snapshot replaces at any moment leaves no file behind") {
  at_any_moment([](Going& f, const auto& go_on) {
    const Checkpoint snapshot = f.other();
    go_on();
    std::optional<Result<void>> done;
    f.store->install({1}, snapshot.dir, snapshot.manifest, at(1000), [&](Result<void> r) { done = std::move(r); });
    f.machine.settle();
    REQUIRE((done && *done));
    REQUIRE(f.everything(f.tablet()) == std::map<std::string, std::string>{{"k", "other"}});
    REQUIRE(f.files() == 2);  // one of each
    REQUIRE_FALSE(f.fatal);
    put(f.tablet(), 1001, "k", "goes on");
    f.tablet()->flush();
    f.machine.settle();
    REQUIRE(f.tablet()->flushed().index.value == 1001);
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
  std::optional<Result<void>> done;
  f.store->install({1}, snapshot.dir, snapshot.manifest, at(1000), [&](Result<void> r) { done = std::move(r); });
  bool between = false;
  loop.before_next([&] {
    between = true;
    f.log_reaches({f.index});
    while (f.machine.background.run_one()) {  // on another thread
    }
  });
  f.machine.settle();
  REQUIRE((between && done && *done));
  CHECK(f.everything(f.tablet()) == std::map<std::string, std::string>{{"k", "other"}});
  CHECK(f.files() == 2);
  f.log_always_durable = true;
  put(f.tablet(), 1001, "k", "goes on");
  f.tablet()->flush();
  f.machine.settle();
  CHECK(f.tablet()->flushed().index.value == 1001);
  f.store.reset();
}
