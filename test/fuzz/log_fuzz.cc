// Arbitrary bytes as a log segment: recovery and dump answer, whatever is in it.
#include <cstdint>
#include <string_view>

#include "base/checksum.h"
#include "storage/io/memory_file_system.h"
#include "storage/log/log_recovery.h"

using namespace cairn;
using namespace cairn::storage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // As the content of a batch with a good checksum, so that the records are reached.
  std::string segment = encode_segment_header({.sequence = 1, .bytes = 4 * kLogAlign});
  std::string batch(kBatchHeaderBytes, '\0');
  batch.append(input.substr(0, 2 * kLogAlign));
  encode_batch_header(batch.data(), {.length = static_cast<uint32_t>(batch.size()),
                                     .records = static_cast<uint32_t>(size % 64),
                                     .segment_low = 1,
                                     .oldest_low = 1,
                                     .sequence = 1});
  segment.append(batch);
  segment.resize(4 * kLogAlign, '\0');
  for (const std::string_view bytes : {std::string_view(segment), input}) {
    MemoryFileSystem fs;
    if (!fs.create_dirs("/log") || !write_file_atomic(fs, "/log/0000000001.log", bytes)) return 0;
    GroupTable table;
    LogRecovery recovery;
    (void)recover_log(fs, "/log", table, recovery);
    (void)dump_log_segment(fs, "/log/0000000001.log");
  }
  return 0;
}
