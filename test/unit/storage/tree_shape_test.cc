#include "storage/compaction/tree_shape.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "storage/recent_rates.h"
#include "test/unit/storage/tablet_fixture.h"

namespace cairn::storage {
namespace {

std::vector<SstableInfo> some_tables(Random& random) {
  std::vector<SstableInfo> tables;
  uint64_t id = 0;
  for (uint64_t run = random.between(1, 12); run > 0; --run) {
    uint64_t key = random.below(30);
    for (uint64_t n = random.between(1, 5); n > 0; --n) {
      SstableInfo& table = tables.emplace_back();
      table.id = ++id;
      table.run = run;
      table.level = random.chance(0.5) ? 0 : static_cast<uint32_t>(random.below(7));
      table.smallest = table.span_begin = std::string(1, static_cast<char>('0' + key));
      key += random.below(8);
      table.largest = std::string(1, static_cast<char>('0' + key++));
      table.span_end = random.chance(0.05) && n == 1 ? "" : table.largest + '\0';
      table.bytes = random.between(1, 100 << 20);
      table.entries = 100;
      table.tombstones = random.chance(0.4) ? random.below(100) : 0;
      table.expiring = random.chance(0.2) ? 100 - table.tombstones : 0;
      if (table.expiring > 0) table.dead_from_ms = table.min_expiry_ms = table.max_expiry_ms = random.below(2000);
      table.max_time_ms = run * 100;
    }
  }
  return tables;
}

bool overlap(const SstableInfo& a, const SstableInfo& b) { return spans_overlap(a, b); }

}  // namespace

TEST_CASE("depth, droppable and blocked are what looking at every pair of tables says") {
  SeededRandom random(7);
  for (int round = 0; round < 500; ++round) {
    const auto tables = some_tables(random);
    const LsmView view{tables, {}, 1000};
    const auto strategy = make_strategy(kStrategyKinds[random.below(4)], {});
    const TreeShape shape = measure_tree(view, *strategy);
    uint64_t depth = 0;
    double droppable = 0;
    for (const auto& table : tables) {
      uint64_t at_begin = 0;
      bool older = false;
      for (const auto& other : tables) {
        const bool covers =
            other.span_begin <= table.span_begin && (other.span_end.empty() || other.span_end > table.span_begin);
        at_begin += covers ? 1 : 0;
        older = older || (other.run < table.run && overlap(other, table));
      }
      depth = std::max(depth, at_begin);
      if (!older)
        droppable += static_cast<double>(table.tombstones) +
                     (table.min_expiry_ms < 1000 ? static_cast<double>(table.expiring) : 0);
    }
    INFO("round " << round);
    CHECK(shape.overlap_depth == depth);
    CHECK(static_cast<double>(shape.droppable_tombstones) == Approx(droppable).margin(1));
    CHECK((shape.pending_bytes > 0) <= strategy->pick(view).has_value());
    const auto plan = strategy->pick(view);
    if (plan && plan->kind == CompactionPlan::Kind::kMerge) CHECK(shape.pending_bytes > 0);
  }
}

TEST_CASE("what is pending goes to nothing as compactions run, and a switch of strategy says what is left of it") {
  test::TabletFixture f;
  f.options.strategy = StrategyKind::kStcs;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  const std::string value(200, 'x');
  for (uint64_t i = 1; i <= 2000; ++i) {
    WriteBatch batch;
    batch.put("key" + std::to_string(i * 7919 % 700), value);
    REQUIRE(tablet->apply({{i}, {1}, i, i}, batch.bytes()));
    if (i % 300 == 0) tablet->flush();
    if (i % 100 == 0) f.machine.settle();
  }
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->shape().pending_bytes == 0);
  CHECK(tablet->shape().overlap_depth == tablet->stats().runs);
  CHECK(f.store->gauges().temp_bytes == 0);

  tablet->set_strategy(StrategyKind::kLcs);
  REQUIRE(tablet->stats().runs >= 2);
  const uint64_t left = tablet->shape().reshape_bytes;
  CHECK(left > 0);
  CHECK(left <= tablet->shape().pending_bytes);
  uint64_t temp = 0;
  while (f.machine.step()) temp = std::max(temp, f.store->gauges().temp_bytes);
  CHECK(temp > 0);
  CHECK(f.store->gauges().temp_bytes == 0);
  CHECK(tablet->shape().reshape_bytes == 0);
  CHECK(tablet->shape().pending_bytes == 0);

  const TabletStoreMetrics& m = f.store->metrics();
  uint64_t read = 0, written = 0;
  for (const auto& causes : m.moved) {
    for (const auto& moved : causes) {
      read += moved.read.get();
      written += moved.written.get();
    }
  }
  CHECK(read == m.bytes_compacted_in.get());
  CHECK(written == m.bytes_compacted_out.get());
  const auto& tiered = m.moved[static_cast<size_t>(StrategyKind::kStcs)];
  CHECK(tiered[static_cast<size_t>(CompactionCause::kSize)].written.get() > 0);
  CHECK(m.moved[static_cast<size_t>(StrategyKind::kLcs)][0].read.get() > 0);
  CHECK(m.flush_time.view().total() == m.flushes.get());
  CHECK(m.user_bytes.get() == tablet->stats().amplification.user_bytes);
  CHECK(f.store->gauges().recent_write_amplification == Approx(f.store->amplification().write()));
}

TEST_CASE("lookups are counted by the runs they touch, filters by whether they were right") {
  test::TabletFixture f;
  f.options.strategy = StrategyKind::kTwcs;  // leaves four runs of a window alone
  f.options.filter_bits_per_key = 4;         // often wrong
  f.options.block_cache_bytes = 4 << 20;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  uint64_t index = 0;
  for (int run = 0; run < 3; ++run) {
    for (int i = 0; i < 300; ++i) {
      WriteBatch batch;
      batch.put("key" + std::to_string(i * 3 + run), "value");
      ++index;
      REQUIRE(tablet->apply({{index}, {1}, 1, index}, batch.bytes()));
    }
    tablet->flush();
    f.machine.settle();
  }
  REQUIRE(tablet->stats().runs == 3);
  for (int i = 0; i < 1200; ++i) {
    const bool there = f.read(tablet, "key" + std::to_string(i)).has_value();
    CHECK(there == (i < 900));
  }
  const TabletStoreMetrics& m = f.store->metrics();
  uint64_t reads = 0, runs = 0;
  for (size_t i = 0; i < CountHistogram::kBuckets; ++i) {
    reads += m.runs_touched.count(i);
    runs += i * m.runs_touched.count(i);
  }
  CHECK(reads == tablet->stats().amplification.reads);
  CHECK(runs == tablet->stats().amplification.runs_probed);
  CHECK(runs == m.runs_touched.sum());
  CHECK(m.filter_true_positives.get() == 900);
  CHECK(m.filter_false_positives.get() > 50);
  CHECK(m.filter_true_positives.get() + m.filter_false_positives.get() == runs);
  CHECK(m.page_hits.get() + m.page_misses.get() == m.cache_misses.get());
}

TEST_CASE("recent rates forget what was before their window") {
  RecentRates rates;
  rates.sample(0, {});
  RecentRates::Totals totals;
  const auto write = [&](Instant at, uint64_t user, uint64_t written) {
    totals.user_bytes += user;
    totals.written_bytes += written;
    totals.compaction_bytes += written;
    totals.compaction_ns += kSecond;
    rates.sample(at, totals);
  };
  write(5 * kSecond, 100, 1000);
  CHECK(rates.write_amplification() == Approx(10));
  CHECK(rates.compaction_bytes_per_second() == Approx(1000));
  for (Instant at = 10; at <= 1210; at += 10) write(at * kSecond, 100, 300);
  CHECK(rates.write_amplification() == Approx(3));
  CHECK(rates.compaction_bytes_per_second() == Approx(300));
  rates.sample(5000 * kSecond, totals);  // nothing was written for long
  rates.sample(6000 * kSecond, totals);
  CHECK(rates.write_amplification() == 0);
}

}  // namespace cairn::storage
