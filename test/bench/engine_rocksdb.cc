#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>

#include "test/bench/engine_target.h"

namespace cairn::bench {
namespace {

void check(const rocksdb::Status& status) {
  if (!status.ok()) throw std::runtime_error("rocksdb: " + status.ToString());
}
rocksdb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const rocksdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

class RocksdbTarget final : public EngineTarget {
 public:
  explicit RocksdbTarget(const TargetOptions& options) {
    rocksdb::Options o;
    o.create_if_missing = true;
    o.write_buffer_size = options.memtable_bytes;
    o.compression = rocksdb::kLZ4Compression;
    o.max_background_jobs = 1;  // one thread for compactions; it keeps one of its own for flushes
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(options.cache_bytes);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* db = nullptr;
    check(rocksdb::DB::Open(o, options.dir, &db));
    db_.reset(db);
    write_.sync = options.log == LogMode::kDurable;
  }

  void put(std::string_view key, std::string_view value) override { check(db_->Put(write_, slice(key), slice(value))); }
  void put_from_client(std::string_view key, std::string_view value) override { put(key, value); }
  void remove(std::string_view key) override { check(db_->Delete(write_, slice(key))); }
  std::optional<std::string_view> get(std::string_view key) override {
    value_.Reset();
    const rocksdb::Status status = db_->Get(read_, db_->DefaultColumnFamily(), slice(key), &value_);
    if (status.IsNotFound()) return std::nullopt;
    check(status);
    return view(value_);
  }
  void scan(std::string_view from, uint64_t rows_max, const RowVisit& visit) override {
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read_));
    uint64_t rows = 0;
    for (at->Seek(slice(from)); at->Valid() && rows < rows_max; at->Next(), ++rows) {
      if (!visit(view(at->key()), view(at->value()))) break;
    }
    check(at->status());
  }
  bool scan_back(const RowVisit& visit) override {
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read_));
    for (at->SeekToLast(); at->Valid(); at->Prev()) {
      if (!visit(view(at->key()), view(at->value()))) break;
    }
    check(at->status());
    return true;
  }
  void flush() override { check(db_->Flush(rocksdb::FlushOptions())); }
  bool busy() override {
    for (const char* name : {"rocksdb.num-running-compactions", "rocksdb.num-running-flushes",
                             "rocksdb.compaction-pending", "rocksdb.mem-table-flush-pending"}) {
      uint64_t count = 0;
      if (db_->GetIntProperty(name, &count) && count > 0) return true;
    }
    return false;
  }

 private:
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::WriteOptions write_;
  rocksdb::ReadOptions read_;
  rocksdb::PinnableSlice value_;
};

}  // namespace

EngineKind rocksdb_kind() {
  return {"rocksdb", rocksdb::GetRocksVersionAsString(true) + ", lz4",
          [](const TargetOptions& options) -> std::unique_ptr<EngineTarget> {
            return std::make_unique<RocksdbTarget>(options);
          }};
}

}  // namespace cairn::bench
