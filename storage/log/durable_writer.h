// How a shared log makes a batch durable: on the loop itself, on a thread, through io_uring, or in simulated
// time.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

class DurableWriter {
 public:
  using Done = std::move_only_function<void(Result<void>)>;
  virtual ~DurableWriter() = default;
  // Calls file.write_durable(offset, data). `data` and `file` stay valid until `done` has run. `done` runs on
  // the loop of the log's owner: inside this call (inline writer) or later. At most one write of one log is
  // under way.
  virtual void write(File& file, uint64_t offset, std::string_view data, Done done) = 0;

 protected:
  // A write that is answered later.
  struct Job {
    File* file;
    uint64_t offset;
    std::string_view data;
    Done done;
  };
};

// Writes on the calling loop. The fastest where a durable write costs about a tenth of a millisecond.
class InlineDurableWriter final : public DurableWriter {
 public:
  void write(File& file, uint64_t offset, std::string_view data, Done done) override {
    done(file.write_durable(offset, data));
  }
};

}  // namespace cairn::storage
