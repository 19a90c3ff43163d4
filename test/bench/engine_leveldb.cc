#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>

#include "test/bench/engine_target.h"

namespace cairn::bench {
namespace {

void check(const leveldb::Status& status) {
  if (!status.ok()) throw std::runtime_error("leveldb: " + status.ToString());
}
leveldb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const leveldb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

class LeveldbTarget final : public EngineTarget {
 public:
  explicit LeveldbTarget(const TargetOptions& options)
      : cache_(leveldb::NewLRUCache(options.cache_bytes)), filter_(leveldb::NewBloomFilterPolicy(10)) {
    leveldb::Options o;
    o.create_if_missing = true;
    o.write_buffer_size = options.memtable_bytes;
    o.block_cache = cache_.get();
    o.filter_policy = filter_.get();
    o.compression = leveldb::kSnappyCompression;  // it has no LZ4
    leveldb::DB* db = nullptr;
    check(leveldb::DB::Open(o, options.dir, &db));
    db_.reset(db);
    write_.sync = options.log == LogMode::kDurable;
  }

  void put(std::string_view key, std::string_view value) override { check(db_->Put(write_, slice(key), slice(value))); }
  void put_from_client(std::string_view key, std::string_view value) override { put(key, value); }
  void remove(std::string_view key) override { check(db_->Delete(write_, slice(key))); }
  std::optional<std::string_view> get(std::string_view key) override {
    const leveldb::Status status = db_->Get(leveldb::ReadOptions(), slice(key), &value_);
    if (status.IsNotFound()) return std::nullopt;
    check(status);
    return value_;
  }
  void scan(std::string_view from, uint64_t rows_max, const RowVisit& visit) override {
    const std::unique_ptr<leveldb::Iterator> at(db_->NewIterator(leveldb::ReadOptions()));
    uint64_t rows = 0;
    for (at->Seek(slice(from)); at->Valid() && rows < rows_max; at->Next(), ++rows) {
      if (!visit(view(at->key()), view(at->value()))) break;
    }
    check(at->status());
  }
  bool scan_back(const RowVisit& visit) override {
    const std::unique_ptr<leveldb::Iterator> at(db_->NewIterator(leveldb::ReadOptions()));
    for (at->SeekToLast(); at->Valid(); at->Prev()) {
      if (!visit(view(at->key()), view(at->value()))) break;
    }
    check(at->status());
    return true;
  }
  void flush() override {
    // It has no call for that, but a compaction of a range of keys writes the memtable out first, whatever the range.
    const leveldb::Slice behind("\xff\xff", 2);
    db_->CompactRange(&behind, &behind);
  }
  bool busy() override { return false; }  // it does not tell

 private:
  std::unique_ptr<leveldb::Cache> cache_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
  std::unique_ptr<leveldb::DB> db_;
  leveldb::WriteOptions write_;
  std::string value_;
};

}  // namespace

EngineKind leveldb_kind() {
  return {"leveldb", std::to_string(leveldb::kMajorVersion) + "." + std::to_string(leveldb::kMinorVersion) + ", snappy",
          [](const TargetOptions& options) -> std::unique_ptr<EngineTarget> {
            return std::make_unique<LeveldbTarget>(options);
          }};
}

}  // namespace cairn::bench
