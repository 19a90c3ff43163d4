// What tablets are compared with, and what is done to both.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "test/unit/storage/tablet_fixture.h"

namespace cairn::storage::test {

using Model = std::map<std::string, std::string>;

inline std::string some_key(Random& random) {
  return "c" + std::to_string(random.below(12)) + "/" + std::to_string(random.below(60));
}
inline uint64_t apply_to_model(Model& model, std::string_view operations) {
  BatchReader reader(operations);
  Op op;
  uint64_t count = 0;
  for (; reader.next(op); ++count) {
    switch (op.kind) {
      case OpKind::kPut: model[std::string(op.key)] = op.value; break;
      case OpKind::kDelete: model.erase(std::string(op.key)); break;
      case OpKind::kPrefixDelete:
        std::erase_if(model, [&](const auto& row) { return row.first.starts_with(op.key); });
        break;
      case OpKind::kClear: model.clear(); break;
    }
  }
  return count;
}

inline WriteBatch random_batch(Random& random) {
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

inline StrategyKind some_strategy(Random& random) { return kStrategyKinds[random.below(std::size(kStrategyKinds))]; }

// Tables and thresholds so small that every rule of every strategy gets its turn.
inline CompactionOptions some_compactions(Random& random) {
  CompactionOptions options = small_compactions();
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

}  // namespace cairn::storage::test
