// What must hold for every plan, whatever the tables look like.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "base/random.h"
#include "storage/compaction/strategy.h"

namespace cairn::storage {
namespace {

std::string key_of(uint64_t n) {
  const std::string digits = std::to_string(n);
  return std::string(4 - digits.size(), '0') + digits;
}

bool share_a_key(const SstableInfo& a, const SstableInfo& b, const SstableInfo& c) {
  const std::string& begin = std::max({a.span_begin, b.span_begin, c.span_begin});
  for (const auto* table : {&a, &b, &c}) {
    if (!table->span_end.empty() && table->span_end <= begin) return false;
  }
  return true;
}

class Tables {
 public:
  explicit Tables(uint64_t seed) : random_(seed) {
    uint64_t run = 0;
    for (uint64_t n = random_.between(1, 14); n > 0; --n) add_run(run += random_.between(1, 3));
    sort();
  }
  const std::vector<SstableInfo>& list() const { return tables_; }
  Random& random() { return random_; }

  const SstableInfo& find(uint64_t id) const {
    const auto it = std::ranges::find(tables_, id, &SstableInfo::id);
    REQUIRE(it != tables_.end());
    return *it;
  }

  void flush() {
    add_run(tables_.empty() ? 1 : tables_.front().run + 1 + random_.below(2));
    sort();
  }

  // The outcome: as few tables as the inputs may become, with half of what can be dropped gone.
  void execute(const CompactionPlan& plan) {
    std::vector<SstableInfo> inputs;
    std::erase_if(tables_, [&](const SstableInfo& table) {
      if (std::ranges::find(plan.inputs, table.id) == plan.inputs.end()) return false;
      inputs.push_back(table);
      return true;
    });
    if (plan.kind == CompactionPlan::Kind::kDrop) return;
    if (plan.kind == CompactionPlan::Kind::kMerge) inputs = merged(std::move(inputs));
    for (SstableInfo& table : inputs) {
      table.run = plan.output_run;
      table.level = plan.output_level;
      tables_.push_back(table);
    }
    sort();
  }

 private:
  void add_run(uint64_t run) {
    const auto level = static_cast<uint32_t>(random_.chance(0.5) ? 0 : random_.below(7));
    const uint64_t unit = random_.chance(0.5) ? 1 << 20 : 40 << 20;
    uint64_t key = random_.below(50);
    for (uint64_t n = random_.between(1, 6); n > 0 && key < 90; --n) {
      SstableInfo table;
      table.id = ++last_id_;
      table.run = run;
      table.level = level;
      table.smallest = table.span_begin = key_of(key);
      key += random_.below(25);
      table.largest = key_of(key);
      table.span_end =
          random_.chance(0.02) && n == 1 ? "" : table.largest + '\0';  // a prefix up to the end of all keys
      ++key;
      table.bytes = random_.between(1, unit);
      table.entries = random_.between(10, 1000);
      table.tombstones = random_.chance(0.3) ? random_.below(table.entries + 1) : 0;
      table.dense_tombstones = random_.chance(0.5) ? table.tombstones : 0;
      table.passed = random_.chance(0.2) ? random_.below(100'000) : 0;
      table.expiring = random_.chance(0.3) ? table.entries - table.tombstones : 0;
      table.min_time_ms = run * 500;
      table.max_time_ms = table.min_time_ms + random_.below(1500);
      if (table.expiring > 0) {
        table.min_expiry_ms = table.max_time_ms + random_.below(1000);
        table.max_expiry_ms = table.min_expiry_ms + random_.below(1000);
        table.dead_from_ms = table.max_expiry_ms;
      }
      tables_.push_back(table);
    }
  }

  std::vector<SstableInfo> merged(std::vector<SstableInfo> inputs) {
    std::ranges::sort(inputs, {}, &SstableInfo::span_begin);
    SstableInfo whole = inputs.front();
    whole.id = ++last_id_;
    for (const SstableInfo& table : inputs) {
      if (table.id == inputs.front().id) continue;
      whole.largest = std::max(whole.largest, table.largest);
      if (whole.span_end.empty() || table.span_end.empty()) {
        whole.span_end.clear();
      } else {
        whole.span_end = std::max(whole.span_end, table.span_end);
      }
      whole.bytes += table.bytes;
      whole.entries += table.entries;
      whole.min_time_ms = std::min(whole.min_time_ms, table.min_time_ms);
      whole.max_time_ms = std::max(whole.max_time_ms, table.max_time_ms);
    }
    whole.tombstones = whole.dense_tombstones = whole.passed = whole.expiring = 0;
    whole.dead_from_ms = ~0ull;
    whole.bytes -= whole.bytes / 4;
    return {whole};
  }

  void sort() {
    std::ranges::sort(tables_, [](const SstableInfo& a, const SstableInfo& b) {
      return a.run != b.run ? a.run > b.run : a.smallest < b.smallest;
    });
  }

  SeededRandom random_;
  std::vector<SstableInfo> tables_;
  uint64_t last_id_ = 0;
};

// Throws nothing away: after the plan every key shows the version that it showed before.
void check_plan(const Tables& tables, const std::vector<uint64_t>& busy, const CompactionPlan& plan, uint64_t now_ms) {
  INFO(plan.strategy << ": " << plan.reason);
  REQUIRE(!plan.inputs.empty());
  const std::set<uint64_t> ids(plan.inputs.begin(), plan.inputs.end());
  REQUIRE(ids.size() == plan.inputs.size());
  std::vector<const SstableInfo*> inputs;
  for (const uint64_t id : plan.inputs) {
    REQUIRE(std::ranges::find(busy, id) == busy.end());
    inputs.push_back(&tables.find(id));
  }
  if (plan.kind == CompactionPlan::Kind::kMerge) REQUIRE(plan.output_table_bytes_max > 0);
  for (const SstableInfo& other : tables.list()) {
    if (ids.contains(other.id)) continue;
    for (const SstableInfo* input : inputs) {
      INFO("table " << other.id << " of run " << other.run << " stays, " << input->id << " of run " << input->run
                    << " goes to run " << plan.output_run);
      const bool overlaps = spans_overlap(other, *input);
      if (plan.down) {
        REQUIRE(!(overlaps && other.run < input->run));
      } else if (plan.incremental) {
        REQUIRE(other.run != input->run);
      }
      if (plan.kind == CompactionPlan::Kind::kDrop) {
        REQUIRE(input->dead_from_ms <= now_ms);
        REQUIRE(!(overlaps && other.run < input->run));  // what it hides would come back
        continue;
      }
      if (!overlaps) continue;
      REQUIRE(other.run != plan.output_run);
      REQUIRE((other.run > input->run) == (other.run > plan.output_run));
      for (const SstableInfo* older : inputs) {
        REQUIRE(!(input->run > other.run && other.run > older->run && share_a_key(*input, other, *older)));
      }
    }
  }
}

}  // namespace

TEST_CASE(
    "bugs 2, 15, 30: every plan of every strategy keeps the newest version of every key on top, and compaction comes "
    "to an end") {
  for (uint64_t seed = 1; seed <= 1500; ++seed) {
    INFO("seed " << seed);
    Tables tables(seed);
    Random& random = tables.random();
    CompactionOptions options;
    options.tombstones.interval_ms = random.below(2000);
    options.tombstones.dense_min = random.below(200);
    options.reads.rows_min = random.below(20'000);
    options.twcs.window_ms = random.between(200, 5000);
    options.twcs.grace_ms = random.below(1000);
    options.lcs.base_bytes = 64u << 20;
    uint64_t now_ms = random.below(10'000);
    auto strategy = make_strategy(kStrategyKinds[random.below(4)], options);
    int idle = 0;
    for (int step = 0; idle < 6; ++step) {
      REQUIRE(step < 400);
      std::vector<uint64_t> busy;
      for (const SstableInfo& table : tables.list()) {
        if (random.chance(0.1) && idle == 0 && step < 100) busy.push_back(table.id);
      }
      const auto plan = strategy->pick({tables.list(), busy, now_ms});
      if (plan) {
        check_plan(tables, busy, *plan, now_ms);
        tables.execute(*plan);
        continue;
      }
      if (!busy.empty()) continue;
      ++idle;
      now_ms += random.below(3000);
      if (random.chance(0.5)) tables.flush();
      if (random.chance(0.3)) strategy = make_strategy(kStrategyKinds[random.below(4)], options);
    }
  }
}

}  // namespace cairn::storage
