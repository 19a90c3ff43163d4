// Compaction on request: what it leaves, what it waits for, and what ends it.
#include <catch2/catch.hpp>

#include <set>

#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::at;
using test::put;
using test::TabletFixture;

// Deletes a quarter of the rows that it writes. Rows of one strategy lie in several runs afterwards.
void write_rows(TabletFixture& f, uint64_t& index, int rows, std::map<std::string, std::string>& model) {
  for (int i = 0; i < rows; ++i) {
    WriteBatch batch;
    const std::string key = "key" + std::to_string(1000 + (index * 7919) % 700);
    if (index % 4 == 3) {
      batch.remove(key);
      model.erase(key);
    } else {
      model[key] = std::to_string(index) + std::string(200, 'v');
      batch.put(key, model[key]);
    }
    REQUIRE(f.tablet()->apply(at(++index), batch.bytes()));
    f.machine.settle();
  }
}

struct Answers {
  std::vector<Result<void>> results;
  void ask(Tablet* tablet) {
    tablet->compact([this](Result<void> result) { results.push_back(std::move(result)); });
  }
};

std::set<uint64_t> runs_of(Tablet* tablet) {
  std::set<uint64_t> runs;
  for (const SstableInfo& info : tablet->tables()) runs.insert(info.run);
  return runs;
}

}  // namespace

TEST_CASE("a full compaction leaves one run without tombstones, memtable included, whatever the strategy") {
  for (const StrategyKind kind : kStrategyKinds) {
    INFO(to_string(kind));
    TabletFixture f;
    f.options.strategy = kind;
    f.options.compression = Compression::kNone;
    f.options.compaction.twcs.window_ms = 1'000'000'000;
    REQUIRE(f.open());
    std::map<std::string, std::string> model;
    uint64_t index = 0;
    write_rows(f, index, 1500, model);
    REQUIRE(f.tablet()->stats().memtable_bytes > 0);
    Answers answers;
    answers.ask(f.tablet());
    CHECK(f.tablet()->stats().full_compaction_at == index);
    f.machine.settle();
    REQUIRE(answers.results.size() == 1);
    CHECK(answers.results[0]);
    CHECK(runs_of(f.tablet()).size() == 1);
    uint64_t rows = 0;
    for (const SstableInfo& info : f.tablet()->tables()) {
      CHECK(info.tombstones == 0);
      CHECK_FALSE(info.trimmed);
      CHECK(info.bytes < 2 * (64 << 10));
      rows += info.entries;
    }
    CHECK(rows == model.size());
    CHECK(f.tablet()->stats().full_compaction_at == 0);
    CHECK(f.everything(f.tablet()) == model);
    CHECK(f.fs.list("/data/sst")->size() == f.tablet()->stats().sstables);
    // Once more there is nothing to do.
    const uint64_t written = f.tablet()->stats().amplification.compacted_out_bytes;
    answers.ask(f.tablet());
    f.machine.settle();
    CHECK(answers.results.size() == 2);
    CHECK(f.tablet()->stats().amplification.compacted_out_bytes == written);
  }
}

TEST_CASE("under time windows every window becomes a run of its own") {
  TabletFixture f;
  f.options.strategy = StrategyKind::kTwcs;
  f.options.compaction.twcs.window_ms = 2000;
  f.options.compaction.twcs.late_share = 100;  // nothing is merged before it is asked for
  f.options.compaction.twcs.min_threshold = 30;
  REQUIRE(f.open());
  std::map<std::string, std::string> model;
  uint64_t index = 0;
  while (index < 600) {
    write_rows(f, index, 20, model);
    f.tablet()->flush();
    f.machine.settle();
  }
  REQUIRE(runs_of(f.tablet()).size() > 8);
  Answers answers;
  answers.ask(f.tablet());
  f.machine.settle();
  REQUIRE(answers.results.size() == 1);
  std::set<uint64_t> windows;
  for (const SstableInfo& info : f.tablet()->tables()) {
    CHECK(info.min_time_ms / 2000 == info.max_time_ms / 2000);
    windows.insert(info.max_time_ms / 2000);
  }
  CHECK(runs_of(f.tablet()).size() == windows.size());
  CHECK(windows.size() >= 3);
  CHECK(f.everything(f.tablet()) == model);
}

TEST_CASE("requests wait for the log, share what has not begun, and run while writes go on") {
  TabletFixture f;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  f.log_always_durable = false;
  std::map<std::string, std::string> model;
  uint64_t index = 0;
  write_rows(f, index, 50, model);
  Answers answers;
  answers.ask(f.tablet());
  write_rows(f, index, 50, model);
  answers.ask(f.tablet());
  f.machine.settle();
  CHECK(answers.results.empty());
  CHECK(f.tablet()->tables().empty());
  f.log_always_durable = true;
  while (answers.results.empty()) {
    f.log_reaches({index});
    REQUIRE(f.machine.step());
  }
  f.machine.settle();
  CHECK(answers.results.size() == 2);
  CHECK(runs_of(f.tablet()).size() == 1);
  // Of those that come in the middle of one the next takes all.
  answers.ask(f.tablet());
  for (int i = 0; i < 40; ++i) {
    const std::string key = "key" + std::to_string(i);
    put(f.tablet(), ++index, key, model[key] = std::string(1000, 'x'));
    answers.ask(f.tablet());
    f.machine.step();
  }
  f.machine.settle();
  CHECK(answers.results.size() == 43);
  CHECK(std::ranges::all_of(answers.results, [](const auto& result) { return result.has_value(); }));
  CHECK(runs_of(f.tablet()).size() == 1);
  CHECK(f.everything(f.tablet()) == model);
}

TEST_CASE("a full compaction that is cut off by a crash has changed no row") {
  for (uint64_t stop = 1; stop < 60; stop += 4) {
    INFO(stop);
    TabletFixture f(stop);
    f.options.compression = Compression::kNone;
    f.options.strategy = StrategyKind::kStcs;
    f.options.compaction.stcs.table_bytes_max = 8 << 10;
    f.options.compaction.stcs.min_threshold = 30;
    REQUIRE(f.open());
    std::map<std::string, std::string> model;
    uint64_t index = 0;
    for (int run = 0; run < 5; ++run) {
      write_rows(f, index, 40, model);
      f.tablet()->flush();
      f.machine.settle();
    }
    Answers answers;
    answers.ask(f.tablet());
    for (uint64_t i = 0; i < stop && f.machine.step(); ++i) {
    }
    f.store.reset();
    REQUIRE(f.open());
    CHECK(f.everything(f.tablet()) == model);
    answers.ask(f.tablet());
    f.machine.settle();
    CHECK(runs_of(f.tablet()).size() == 1);
    CHECK(f.everything(f.tablet()) == model);
  }
}

TEST_CASE("a full compaction ends with the tablet, with a clear, and with a disk that has no room") {
  TabletFixture f;
  f.options.strategy = StrategyKind::kStcs;
  f.options.compaction.stcs.min_threshold = 30;
  REQUIRE(f.open());
  std::map<std::string, std::string> model;
  uint64_t index = 0;
  write_rows(f, index, 300, model);
  Answers answers;
  SECTION("dropped") {
    answers.ask(f.tablet());
    REQUIRE(f.store->drop({1}));
    f.machine.settle();
    REQUIRE(answers.results.size() == 1);
    CHECK(answers.results[0].error().code == ErrorCode::kUnavailable);
  }
  SECTION("cleared") {
    answers.ask(f.tablet());
    f.machine.step();
    WriteBatch clear;
    clear.clear_all();
    REQUIRE(f.tablet()->apply(at(++index), clear.bytes()));
    put(f.tablet(), ++index, "left", "over");
    answers.ask(f.tablet());
    f.machine.settle();
    CHECK(answers.results.size() == 2);
    CHECK(f.everything(f.tablet()) == std::map<std::string, std::string>{{"left", "over"}});
    CHECK(f.tablet()->tables().size() == 1);
  }
  SECTION("no room") {
    f.tablet()->flush();
    f.machine.settle();
    f.fs.set_capacity(f.fs.used_bytes());
    answers.ask(f.tablet());
    f.machine.settle();
    REQUIRE(answers.results.size() == 1);
    CHECK(answers.results[0].error().code == ErrorCode::kNoSpace);
    CHECK(f.everything(f.tablet()) == model);
    CHECK(f.tablet()->stats().full_compaction_at == 0);
  }
}

TEST_CASE("bytes that compactions read count once for every table that they use up") {
  for (const StrategyKind kind : {StrategyKind::kStcs, StrategyKind::kIcs}) {
    INFO(to_string(kind));
    TabletFixture f;
    f.options.strategy = kind;
    f.options.compression = Compression::kNone;
    f.options.compaction.stcs.min_threshold = f.options.compaction.ics.min_threshold = 30;
    f.options.compaction.ics.space_goal = 0;
    f.options.compaction.ics.table_bytes_max = f.options.compaction.stcs.table_bytes_max = 8 << 10;
    REQUIRE(f.open());
    std::map<std::string, std::string> model;
    uint64_t index = 0;
    for (int run = 0; run < 6; ++run) {
      write_rows(f, index, 60, model);
      f.tablet()->flush();
      f.machine.settle();
    }
    REQUIRE(runs_of(f.tablet()).size() == 6);
    const uint64_t before = f.tablet()->stats().sstable_bytes;
    Answers answers;
    answers.ask(f.tablet());
    f.machine.settle();
    REQUIRE(answers.results.size() == 1);
    REQUIRE(f.tablet()->tables().size() > 3);  // several slices
    CHECK(f.tablet()->stats().amplification.compacted_in_bytes == before);
    CHECK(f.store->metrics().bytes_compacted_in.get() == before);
  }
}

}  // namespace cairn::storage
