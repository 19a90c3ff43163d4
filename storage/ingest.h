// Taking in files that were built outside of any tablet (sstable/ingest_file.h). Internal to storage/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/edit_job.h"

namespace cairn::storage {

// Verifies files, links them under fresh numbers and adds them to a tablet by one edit. In slices, in the background.
// Requires: nobody else edits the tablet meanwhile.
class IngestJob final : public EditJob {
 public:
  IngestJob(std::shared_ptr<StoreShared> shared, uint64_t life, const AppliedPosition& position,
            std::vector<std::string> paths)
      : EditJob(std::move(shared)), life_(life), position_(position), paths_(std::move(paths)) {}
  ~IngestJob() override;
  void start(uint64_t run) { run_ = run; }

  uint64_t life() const { return life_; }
  const AppliedPosition& position() const { return position_; }
  Tables& tables() { return tables_; }
  void discard();  // once committed: the tablet was dropped since, and its version never had them
  uint64_t raw_bytes() const { return raw_bytes_; }  // keys and values of all files

 private:
  Result<bool> work() override;
  Result<void> open_next();
  Result<void> check_order(const Block& block);
  Result<bool> verify();
  Result<void> link();
  Result<void> commit();

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
};

}  // namespace cairn::storage
