#include <catch2/catch.hpp>

#include <ranges>

#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::TabletFixture;
using Model = std::map<std::string, std::string>;

std::string some_key(Random& random) {
  return "c" + std::to_string(random.below(12)) + "/" + std::to_string(random.below(60));
}

void apply_to_model(Model& model, std::string_view operations) {
  BatchReader reader(operations);
  Op op;
  while (reader.next(op)) {
    switch (op.kind) {
      case OpKind::kPut: model[std::string(op.key)] = op.value; break;
      case OpKind::kDelete: model.erase(std::string(op.key)); break;
      case OpKind::kPrefixDelete:
        std::erase_if(model, [&](const auto& row) { return row.first.starts_with(op.key); });
        break;
      case OpKind::kClear: model.clear(); break;
    }
  }
}

WriteBatch random_batch(Random& random) {
  WriteBatch batch;
  for (uint64_t n = random.below(6); n > 0; --n) {
    const uint64_t dice = random.below(100);
    if (dice < 70) {
      batch.put(some_key(random), std::string(random.below(200), static_cast<char>('a' + random.below(26))));
    } else if (dice < 92) {
      batch.remove(some_key(random));
    } else if (dice < 99) {
      batch.remove_prefix("c" + std::to_string(random.below(12)) + "/");
    } else if (random.chance(0.3)) {
      batch.clear_all();
    }
  }
  return batch;
}

void check_point(TabletFixture& f, Tablet* tablet, const Model& model, const std::string& key) {
  const auto got = f.read(tablet, key);
  const auto it = model.find(key);
  if (it == model.end()) {
    REQUIRE(got == std::nullopt);
  } else {
    REQUIRE(got == it->second);
  }
}

void check_scan(TabletFixture& f, Tablet* tablet, const Model& model, const std::string& prefix,
                const std::string& after, uint64_t rows_max) {
  std::vector<std::pair<std::string, std::string>> expected;
  for (const auto& [key, value] : model) {
    if (key.starts_with(prefix) && key > after && expected.size() < rows_max) expected.emplace_back(key, value);
  }
  std::vector<std::pair<std::string, std::string>> seen;
  const bool in_memory = tablet->scan(prefix, after, [&](std::string_view key, std::string_view value) {
    if (seen.size() == rows_max) return false;
    seen.emplace_back(key, value);
    return true;
  });
  if (in_memory) REQUIRE(seen == expected);
  FetchRequest request;
  RowPage part;
  part.prefix = prefix;
  part.start_after = after;
  part.rows_max = rows_max;
  request.prefixes.push_back(part);
  auto fetched = f.fetch(tablet, std::move(request));
  REQUIRE(fetched);
  REQUIRE(fetched->prefixes[0] == expected);
}

// Of the rows "cX/1..." none is wanted.
std::string skip_ones(std::string_view key) {
  const size_t slash = key.find('/');
  return key.substr(slash).starts_with("/1") ? std::string(key.substr(0, slash)) + "/2" : std::string();
}

std::vector<std::pair<std::string, std::string>> page_of(const Model& model, const RowPage& page) {
  std::vector<std::pair<std::string, std::string>> expected;
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

void check_page(TabletFixture& f, Tablet* tablet, const Model& model, const RowPage& page) {
  const auto expected = page_of(model, page);
  std::vector<std::pair<std::string, std::string>> seen;
  const bool in_memory = tablet->scan(page, [&](std::string_view key, std::string_view value) {
    seen.emplace_back(key, value);
    return true;
  });
  if (in_memory) REQUIRE(seen == expected);
  FetchRequest request;
  request.prefixes.push_back(page);
  auto fetched = f.fetch(tablet, std::move(request));
  REQUIRE(fetched);
  REQUIRE(fetched->prefixes[0] == expected);
}

StrategyKind some_strategy(Random& random) { return kStrategyKinds[random.below(std::size(kStrategyKinds))]; }

// Tables and thresholds so small that every rule of every strategy gets its turn.
CompactionOptions some_compactions(Random& random) {
  CompactionOptions options = test::small_compactions();
  const uint64_t table_bytes = random.between(1 << 10, 8 << 10);
  for (SizeTieredOptions* tiered : {&options.stcs, static_cast<SizeTieredOptions*>(&options.ics)}) {
    tiered->min_threshold = static_cast<uint32_t>(random.between(2, 4));
    tiered->min_run_bytes = random.between(1, 16 << 10);
    tiered->table_bytes_max = table_bytes;
  }
  options.lcs.table_bytes_max = options.twcs.table_bytes_max = table_bytes;
  options.lcs.base_bytes = random.between(table_bytes, 4 * table_bytes);
  options.lcs.fan_out = static_cast<uint32_t>(random.between(2, 4));
  options.twcs.window_ms = random.between(50, 2000);
  options.tombstones.interval_ms = random.below(2000);
  return options;
}

void one_history(uint64_t seed) {
  TabletFixture f(seed);
  Random& random = f.machine.random;
  f.options.compaction = some_compactions(random);
  f.fs.set_cold(random.chance(0.5));  // half of the time the kernel holds nothing
  f.log_always_durable = random.chance(0.3);
  f.options.compress = random.chance(0.5);
  f.options.block_bytes = static_cast<uint32_t>(random.between(64, 2000));
  f.options.memtable_bytes = random.between(2'000, 60'000);
  std::vector<std::string> log{""};  // by index
  std::vector<Model> states{{}};     // after each index
  uint64_t known_flushed = 0;
  for (int life = 0; life < 4; ++life) {
    f.options.strategy = some_strategy(random);
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    REQUIRE(tablet != nullptr);
    const uint64_t flushed = tablet->flushed().index.value;
    INFO("seed " << seed << " life " << life << " flushed " << flushed);
    REQUIRE(flushed >= known_flushed);
    REQUIRE(flushed < log.size());
    REQUIRE(!tablet->stats().corrupt);
    if (!f.log_always_durable) REQUIRE(flushed <= f.log_durable.value);
    REQUIRE(f.everything(tablet) == states[flushed]);
    if (flushed > 0) REQUIRE(tablet->applied() == test::at(flushed));
    REQUIRE(f.store->collect_garbage());
    // The log lost what was not durable.
    if (!f.log_always_durable) {
      const uint64_t last = std::max(flushed, f.log_durable.value);
      log.resize(std::min<size_t>(log.size(), last + 1));
      states.resize(log.size());
    }
    for (uint64_t i = 1; i < log.size(); ++i) REQUIRE(tablet->apply(test::at(i), log[i]));
    REQUIRE(f.everything(tablet) == states.back());
    for (uint64_t step = 0, steps = random.between(20, 300); step < steps; ++step) {
      const uint64_t dice = random.below(100);
      if (dice < 45) {
        const WriteBatch batch = random_batch(random);
        log.push_back(batch.bytes());
        states.push_back(states.back());
        apply_to_model(states.back(), batch.bytes());
        REQUIRE(tablet->apply(test::at(log.size() - 1), batch.bytes()));
      } else if (dice < 60) {
        while (random.chance(0.9) && f.machine.step()) {
        }
      } else if (dice < 64) {
        tablet->flush();
        if (random.chance(0.3)) tablet->set_strategy(some_strategy(random));
      } else if (dice < 72) {
        f.log_reaches({random.between(f.log_durable.value, log.size() - 1)});
      } else if (dice < 90) {
        check_point(f, tablet, states.back(), some_key(random));
      } else if (dice < 97) {
        const std::string prefix = random.chance(0.3) ? "" : "c" + std::to_string(random.below(12)) + "/";
        check_scan(f, tablet, states.back(), prefix,
                   random.chance(0.5) ? "" : prefix + std::to_string(random.below(60)),
                   random.chance(0.5) ? ~0ull : random.between(1, 20));
        RowPage page;
        page.prefix = prefix;
        page.start_after = random.chance(0.5) ? "" : prefix + std::to_string(random.below(60));
        page.start_included = random.chance(0.5);
        page.rows_max = random.between(1, 20);
        page.bytes_max = random.chance(0.5) ? ~0ull : random.between(1, 1000);
        page.value_bytes_max = random.chance(0.5) ? ~0ull : random.below(50);
        page.reverse = random.chance(0.5);
        if (random.chance(0.7)) page.skip = &skip_ones;
        check_page(f, tablet, states.back(), page);
      } else {
        // A fetch that overlaps with writes answers as of its end.
        FetchRequest request;
        request.prefixes.resize(2);
        request.prefixes[1].reverse = true;
        std::optional<Result<FetchResult>> answer;
        tablet->fetch(std::move(request), [&](Result<FetchResult> r) { answer = std::move(r); });
        while (!answer) {
          if (random.chance(0.3) && log.size() < 3000) {
            const WriteBatch batch = random_batch(random);
            log.push_back(batch.bytes());
            states.push_back(states.back());
            apply_to_model(states.back(), batch.bytes());
            REQUIRE(tablet->apply(test::at(log.size() - 1), batch.bytes()));
            if (random.chance(0.3)) tablet->flush();
          }
          REQUIRE((f.machine.step() || log.size() < 3000));
        }
        REQUIRE(*answer);
        REQUIRE((*answer)->prefixes[0] == page_of(states.back(), {}));
        REQUIRE(std::ranges::equal((*answer)->prefixes[1] | std::views::reverse, (*answer)->prefixes[0]));
      }
    }
    known_flushed = tablet->flushed().index.value;
    REQUIRE(!f.fatal);
    REQUIRE(f.corruptions.empty());
    if (random.chance(0.7)) {
      f.fs.crash(random, {.reorder = random.chance(0.5)});
    }
    f.store.reset();
    f.machine.settle();
  }
}

}  // namespace

TEST_CASE("a tablet answers like a map, through flushes, compactions, crashes and replays") {
  for (uint64_t seed = 1; seed <= 120; ++seed) one_history(seed);
}

}  // namespace cairn::storage
