// Sequences of rows in tables: which may go, what then still tells when a table was written, and that nothing reads
// otherwise.
#include <catch2/catch.hpp>

#include <set>

#include "base/checksum.h"
#include "base/random.h"
#include "storage/compaction/output_job.h"
#include "table_rows.h"
#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::at;
using test::put;
using test::TabletFixture;

// Runs stay as flushes leave them, unless a test asks.
struct Quiet : TabletFixture {
  explicit Quiet(uint64_t seed = 1) : TabletFixture(seed) {
    options.compaction.ics.min_threshold = 30;
    options.compaction.ics.max_threshold = 32;
    REQUIRE(open());
  }
  void write(uint64_t index, const std::function<void(WriteBatch&)>& make) {
    WriteBatch batch;
    make(batch);
    REQUIRE(tablet()->apply(at(index), batch.bytes()));
  }
  void flush() {
    tablet()->flush();
    machine.settle();
  }
  void compact() {
    bool done = false;
    tablet()->compact([&](Result<void> result) { done = bool(result); });
    machine.settle();
    REQUIRE(done);
  }
  std::shared_ptr<Sstable> opened(const SstableInfo& info) {
    return std::move(*Sstable::open(fs, sstable_path("/data/sst", info.id), info.id));
  }
  // Of every row in any table, key by key.
  std::multimap<std::string, uint64_t> sequences() {
    std::multimap<std::string, uint64_t> all;
    for (const SstableInfo& info : tablet()->tables()) {
      test::for_each_row(*opened(info), [&all](const std::string& key, const Block& block, uint32_t, uint32_t row) {
        all.emplace(key, block.sequence(row));
      });
    }
    return all;
  }
  std::set<uint64_t> distinct_sequences() {
    std::set<uint64_t> values;
    for (const auto& [key, sequence] : sequences()) values.insert(sequence);
    return values;
  }
  // What gets and scans say alike.
  std::map<std::string, std::string> rows(const std::vector<std::string>& keys) {
    std::map<std::string, std::string> got;
    for (const std::string& key : keys) {
      if (const auto value = read(tablet(), key)) got[key] = *value;
    }
    CHECK(everything(tablet()) == got);
    return got;
  }
};

constexpr uint64_t seq(uint64_t index) { return index << kOrdinalBits; }

bool says_no_sequence(TabletFixture& f, const SstableInfo& info) {
  const std::string bytes = *read_file(f.fs, sstable_path("/data/sst", info.id));
  return (parse_footer(std::string_view(bytes).substr(bytes.size() - kFooterBytes), "test")->features &
          kFeatureNoSequence) != 0;
}

}  // namespace

TEST_CASE("a row needs its sequence where some deleted prefix has its key, and nowhere else") {
  PrefixTombstones deleted;
  CHECK(sequence_may_go(deleted, "a/1"));
  deleted.add("a/", seq(5), 1);
  CHECK_FALSE(sequence_may_go(deleted, "a/1"));
  CHECK_FALSE(sequence_may_go(deleted, "a/"));
  CHECK(sequence_may_go(deleted, "a"));
  CHECK(sequence_may_go(deleted, "b"));
  deleted.add("a/1/", seq(9), 1);
  CHECK_FALSE(sequence_may_go(deleted, "a/2"));
  deleted.add("", seq(10), 1);
  CHECK_FALSE(sequence_may_go(deleted, "b"));
}

TEST_CASE("rows lose their sequences on the way to tables, and tables keep when they were written") {
  Quiet f;
  for (uint64_t i = 1; i <= 100; ++i) put(f.tablet(), i, "key" + std::to_string(i * 7919 % 1000), "value");
  f.flush();
  CHECK(f.distinct_sequences() == std::set<uint64_t>{kNoSequence});
  for (uint64_t i = 101; i <= 200; ++i) put(f.tablet(), i, "key" + std::to_string(i * 7919 % 1000), "value");
  f.flush();
  REQUIRE(f.tablet()->tables().size() == 2);
  f.compact();
  f.compact();
  const auto tables = f.tablet()->tables();
  REQUIRE(tables.size() == 1);
  CHECK(says_no_sequence(f, tables[0]));
  CHECK(tables[0].min_sequence.value == seq(1));
  CHECK(tables[0].max_sequence.value == seq(200));
  CHECK(tables[0].min_time_ms == at(1).time_ms);
  CHECK(tables[0].max_time_ms == at(200).time_ms);
  CHECK(f.opened(tables[0])->info().max_sequence.value == seq(200));
  const auto rows = f.everything(f.tablet());
  CHECK(rows.size() == 200);
  REQUIRE(f.open());
  CHECK(f.everything(f.tablet()) == rows);
}

TEST_CASE("bug 7: of two rows of a key that both lack a sequence the one in the newer run counts") {
  const std::vector<std::string> keys{"a", "b", "c"};
  Quiet f;
  for (const std::string value : {"first", "second", "third"}) {
    const uint64_t index = f.tablet()->applied().index.value;
    put(f.tablet(), index + 1, "a", value);
    put(f.tablet(), index + 2, "c", value);
    if (value == "second") put(f.tablet(), index + 3, "b", value);
    f.flush();
  }
  const std::map<std::string, std::string> now{{"a", "third"}, {"b", "second"}, {"c", "third"}};
  CHECK(f.sequences().count("a") == 3);
  CHECK(f.distinct_sequences() == std::set<uint64_t>{kNoSequence});
  CHECK(f.rows(keys) == now);
  test::remove(f.tablet(), f.tablet()->applied().index.value + 1, "b");
  f.flush();
  CHECK(f.rows(keys).count("b") == 0);
  REQUIRE(f.open());
  f.compact();
  CHECK(f.rows(keys) == std::map<std::string, std::string>{{"a", "third"}, {"c", "third"}});
  CHECK(f.sequences().size() == 2);
}

TEST_CASE("rows above a deleted prefix keep their sequences until it is gone, in whatever run it lies") {
  const std::vector<std::string> keys{"a/1", "a/2", "a/3", "b"};
  for (const bool in_one_flush : {true, false}) {
    INFO(in_one_flush);
    Quiet f;
    const auto flush = [&] {
      if (!in_one_flush) f.flush();
    };
    put(f.tablet(), 1, "a/1", "old");
    put(f.tablet(), 2, "a/2", "old");
    flush();
    f.write(3, [](WriteBatch& batch) { batch.remove_prefix("a/"); });
    flush();
    put(f.tablet(), 4, "a/2", "new");
    put(f.tablet(), 5, "a/3", "new");
    put(f.tablet(), 6, "b", "new");
    f.flush();
    const std::map<std::string, std::string> now{{"a/2", "new"}, {"a/3", "new"}, {"b", "new"}};
    CHECK(f.rows(keys) == now);
    const auto written = f.sequences();
    CHECK(written.find("a/3")->second == seq(5));
    CHECK(written.find("b")->second == kNoSequence);
    // The compaction that takes the prefix away still has it among its inputs.
    f.compact();
    CHECK(f.rows(keys) == now);
    CHECK(f.sequences().find("a/3")->second == seq(5));
    REQUIRE(f.tablet()->tables().size() == 1);
    CHECK(f.tablet()->tables()[0].tombstones == 0);
    // The next one has not.
    put(f.tablet(), 7, "b", "newest");
    f.compact();
    CHECK(f.distinct_sequences() == std::set<uint64_t>{kNoSequence});
    CHECK(f.rows(keys) == std::map<std::string, std::string>{{"a/2", "new"}, {"a/3", "new"}, {"b", "newest"}});
    REQUIRE(f.open());
    CHECK(f.rows(keys).size() == 3);
  }
}

TEST_CASE("prefixes deleted later hide rows that have lost their sequences, in memory, in tables and for good") {
  const std::vector<std::string> keys{"a/1", "a/2", "b"};
  Quiet f;
  for (const std::string& key : keys) put(f.tablet(), f.tablet()->applied().index.value + 1, key, "old");
  f.flush();
  f.compact();
  f.write(4, [](WriteBatch& batch) { batch.remove_prefix("a/"); });
  put(f.tablet(), 5, "a/2", "new");
  const std::map<std::string, std::string> now{{"a/2", "new"}, {"b", "old"}};
  CHECK(f.rows(keys) == now);
  f.flush();
  CHECK(f.rows(keys) == now);
  REQUIRE(f.open());
  CHECK(f.rows(keys) == now);
  f.compact();
  CHECK(f.rows(keys) == now);
  CHECK(f.sequences().count("a/1") == 0);
}

TEST_CASE("a clear tells rows without sequences apart by their tables") {
  const std::vector<std::string> keys{"a", "b", "c"};
  Quiet f;
  put(f.tablet(), 1, "a", "old");
  f.flush();
  put(f.tablet(), 2, "b", "old");
  f.flush();
  f.compact();
  f.write(3, [](WriteBatch& batch) {
    batch.clear_all();
    batch.put("b", "new");
  });
  CHECK(f.rows(keys) == std::map<std::string, std::string>{{"b", "new"}});
  f.flush();
  put(f.tablet(), 4, "c", "new");
  f.flush();
  const std::map<std::string, std::string> now{{"b", "new"}, {"c", "new"}};
  // Twice: the second time no input has a row with a sequence.
  for (int i = 0; i < 2; ++i) {
    f.compact();
    CHECK(f.rows(keys) == now);
    put(f.tablet(), 5 + static_cast<uint64_t>(i), "c", "new");
  }
  CHECK(f.tablet()->tables()[0].max_sequence.value >= seq(4));
  REQUIRE(f.open());
  f.write(5, [](WriteBatch& batch) { batch.put("c", "new"); });
  CHECK(f.rows(keys) == now);
}

TEST_CASE("more deleted prefixes than are worth a look leave all sequences as they are") {
  Quiet f;
  f.options.memtable_bytes = f.options.memtable_budget_bytes = 64 << 20;
  REQUIRE(f.open());
  f.write(1, [](WriteBatch& batch) {
    for (int i = 0; i < 20'000; ++i) batch.remove_prefix("gone/" + std::to_string(i) + "/");
    batch.put("kept", "value");
  });
  f.flush();
  CHECK(f.sequences().find("kept")->second == seq(1) + 20'000);
  CHECK_FALSE(says_no_sequence(f, f.tablet()->tables()[0]));
  CHECK(f.read(f.tablet(), "kept") == "value");
}

// Prefixes that lie within each other, in every place that compactions and full disks can put them to.
TEST_CASE("gets and scans agree with a model of deleted prefixes, whatever has merged the tables") {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    INFO("seed " << seed);
    TabletFixture f(seed);
    f.options.strategy = kStrategyKinds[seed % std::size(kStrategyKinds)];
    f.options.memtable_bytes = 4 << 10;
    f.options.compaction.stcs.table_bytes_max = f.options.compaction.ics.table_bytes_max = 2 << 10;
    f.options.compaction.lcs.table_bytes_max = 2 << 10;
    f.options.compaction.lcs.base_bytes = 4 << 10;
    if (seed % 3 == 0) f.options.compaction.space.reserve_bytes = ~0ull >> 1;  // always short of space
    REQUIRE(f.open());
    SeededRandom random(seed);
    std::map<std::string, std::string> model;
    const auto key = [&] {
      std::string text;
      for (int i = 0; i < 4; ++i) text.push_back(static_cast<char>('a' + random.below(3)));
      return text;
    };
    for (uint64_t i = 1; i <= 1500; ++i) {
      WriteBatch batch;
      if (random.chance(0.03)) {
        const std::string prefix = key().substr(0, 1 + random.below(3));
        std::erase_if(model, [&](const auto& row) { return row.first.starts_with(prefix); });
        batch.remove_prefix(prefix);
      } else {
        const std::string name = key();
        model[name] = std::to_string(i) + std::string(random.below(60), 'v');
        batch.put(name, model[name]);
      }
      REQUIRE(f.tablet()->apply(at(i), batch.bytes()));
      if (random.chance(0.05)) f.tablet()->flush();
      if (random.chance(0.01)) f.tablet()->compact([](const Result<void>&) {});
      if (random.chance(0.3)) f.machine.step();
      if (random.chance(0.02)) f.machine.settle();
      if (random.chance(0.01)) f.tablet()->set_strategy(kStrategyKinds[random.below(std::size(kStrategyKinds))]);
      if (i % 50 != 0) continue;
      REQUIRE(f.everything(f.tablet()) == model);
      for (int n = 0; n < 20; ++n) {
        const std::string name = key();
        const auto at = model.find(name);
        REQUIRE(f.read(f.tablet(), name) == (at == model.end() ? std::nullopt : std::optional(at->second)));
      }
    }
  }
}

}  // namespace cairn::storage
