#include "storage/io/async_reader.h"

namespace cairn::storage {

void BackgroundReader::read(const File& file, uint64_t offset, std::span<char> out, Done done) {
  background_.submit(JobPriority::kHigh, [&file, offset, out, done = std::move(done), loop = &loop_]() mutable {
    auto result = std::make_shared<Result<size_t>>(file.read_at(offset, out));
    loop->post([result, done = std::move(done)]() mutable { done(std::move(*result)); });
    return false;
  });
}

}  // namespace cairn::storage
