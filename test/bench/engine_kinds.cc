#include "test/bench/engine_target.h"

namespace cairn::bench {

const std::vector<EngineKind>& engine_kinds() {
  static const std::vector<EngineKind> kinds = {
      cairn_kind(),
#ifdef CAIRN_BENCH_ROCKSDB
      rocksdb_kind(),
#endif
#ifdef CAIRN_BENCH_LEVELDB
      leveldb_kind(),
#endif
  };
  return kinds;
}

}  // namespace cairn::bench
