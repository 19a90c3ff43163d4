// Taking in files that were built outside of any tablet (sstable/ingest_file.h). Internal to storage/.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/store_impl.h"

namespace cairn::storage {

// Verifies files, links them under fresh numbers and adds them to a tablet by one edit. In slices, in the background.
// Requires: nobody else edits the tablet meanwhile.
class IngestJob {
 public:
  IngestJob(std::shared_ptr<StoreShared> shared, uint64_t life, const AppliedPosition& position,
            std::vector<std::string> paths)
      : shared_(std::move(shared)), life_(life), position_(position), paths_(std::move(paths)) {}
  ~IngestJob();
  void start(uint64_t run) { run_ = run; }
  bool step();  // true while more remains

  uint64_t life() const { return life_; }
  const AppliedPosition& position() const { return position_; }
  const Result<void>& result() const { return *result_; }
  bool undecided() const { return undecided_; }  // the manifest may or may not have the edit
  Tables& tables() { return tables_; }
  void discard();  // once committed: the tablet was dropped since, and its version never had them
  uint64_t raw_bytes() const { return raw_bytes_; }  // keys and values of all files

 private:
  Result<bool> work();
  Result<void> open_next();
  Result<void> check_order(const Block& block);
  Result<bool> verify();
  Result<void> link();
  Result<void> commit();

  std::shared_ptr<StoreShared> shared_;
  uint64_t life_;
  AppliedPosition position_;
  std::vector<std::string> paths_;
  uint64_t run_ = 0;
  size_t next_ = 0;                   // of paths_
  std::shared_ptr<Sstable> outside_;  // the file there, while it is verified
  uint32_t next_block_ = 0;
  uint64_t rows_ = 0;
  std::string last_key_;
  ReadAhead ahead_;
  Tables tables_;
  uint64_t raw_bytes_ = 0;
  bool committed_ = false, undecided_ = false;
  std::optional<Result<void>> result_;
};

}  // namespace cairn::storage
