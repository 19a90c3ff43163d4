// Durable writes through io_uring: what is reported as written can be read, and errors are the device's own.
#include "server/runtime/uring_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "storage/io/real_file_system.h"

using namespace cairn;
using namespace cairn::server;

namespace {
constexpr size_t kBlock = 4096;

struct TempFile {
  TempFile() : path("/tmp/cairn-uring-XXXXXX") {
    const int fd = ::mkstemp(path.data());
    REQUIRE(::ftruncate(fd, 16 * kBlock) == 0);
    ::close(fd);
  }
  ~TempFile() { ::unlink(path.c_str()); }
  std::string path;
};

// An aligned buffer of one letter.
struct Block {
  explicit Block(char letter) : bytes(static_cast<char*>(std::aligned_alloc(kBlock, kBlock))) {
    std::fill_n(bytes, kBlock, letter);
  }
  ~Block() { std::free(bytes); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  std::string_view view() const { return {bytes, kBlock}; }
  char* bytes;
};

std::string read_block(storage::File& file, size_t number) {
  Block block('?');
  REQUIRE(file.read_at(number * kBlock, {block.bytes, kBlock}).value() == kBlock);
  return std::string(block.view());
}

// A file that hands out a descriptor which cannot be written, and counts ordinary writes.
class BrokenFile final : public storage::File {
 public:
  explicit BrokenFile(int fd) : fd_(fd) {}
  Result<size_t> read_at(uint64_t, std::span<char>) const override { return 0; }
  Result<std::optional<size_t>> read_cached(uint64_t, std::span<char>) const override { return {std::nullopt}; }
  Result<void> write_at(uint64_t, std::string_view) override { return {}; }
  Result<void> write_durable(uint64_t, std::string_view) override {
    ++ordinary_writes;
    return {};
  }
  int durable_descriptor() const override { return fd_; }
  Result<void> sync() override { return {}; }
  Result<uint64_t> size() const override { return 0; }
  Result<void> truncate(uint64_t) override { return {}; }
  Result<void> allocate(uint64_t) override { return {}; }
  int ordinary_writes = 0;

 private:
  int fd_;
};

struct Fixture {
  RealClock clock;
  EventLoop loop{clock};
  // The result of one write, waited for on the loop.
  Result<void> write(UringDurableWriter& writer, storage::File& file, uint64_t offset, std::string_view data) {
    std::optional<Result<void>> result;
    writer.write(file, offset, data, [&](Result<void> r) { result = std::move(r); });
    if (!result) {
      loop.run([&] {
        if (result) loop.stop();
      });
    }
    return *result;
  }
};
}  // namespace

TEST_CASE("what io_uring reports as written is in the file, waited for or not") {
  const Duration wait = GENERATE(Duration{0}, kMillisecond);
  Fixture f;
  const auto writer = UringDurableWriter::create(f.loop, wait);
  if (!writer) {
    WARN("this kernel has or allows no io_uring");
    return;
  }
  TempFile temp;
  const auto fs = storage::make_real_file_system();
  const auto file = fs->open(temp.path, storage::OpenMode::kLog).value();
  REQUIRE(file->durable_descriptor() >= 0);
  // A loop runs once: the second write is asked for when the first is done.
  const Block a('a'), b('b');
  int done = 0;
  writer->write(*file, 0, a.view(), [&](Result<void> first) {
    CHECK(first.has_value());
    ++done;
    writer->write(*file, 3 * kBlock, b.view(), [&](Result<void> second) {
      CHECK(second.has_value());
      ++done;
    });
  });
  if (done < 2) {
    f.loop.run([&] {
      if (done == 2) f.loop.stop();
    });
  }
  CHECK(read_block(*file, 0) == a.view());
  CHECK(read_block(*file, 3) == b.view());
}

TEST_CASE("a write that io_uring refuses is an error, and is not tried again") {
  Fixture f;
  const auto writer = UringDurableWriter::create(f.loop, 0);
  if (!writer) return;
  TempFile temp;
  const int fd = ::open(temp.path.c_str(), O_RDONLY | O_CLOEXEC);
  BrokenFile file(fd);
  const Block a('a');
  const auto result = f.write(*writer, file, 0, a.view());
  ::close(fd);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ErrorCode::kIoError);
  CHECK(file.ordinary_writes == 0);
}

TEST_CASE("a file without a descriptor is written in the ordinary way") {
  Fixture f;
  const auto writer = UringDurableWriter::create(f.loop, 0);
  if (!writer) return;
  BrokenFile file(-1);
  const Block a('a');
  CHECK(f.write(*writer, file, 0, a.view()).has_value());
  CHECK(file.ordinary_writes == 1);
}

TEST_CASE("a writer that ends while a write is under way waits for it") {
  Fixture f;
  auto writer = UringDurableWriter::create(f.loop, 0);
  if (!writer) return;
  TempFile temp;
  const auto fs = storage::make_real_file_system();
  const auto file = fs->open(temp.path, storage::OpenMode::kLog).value();
  const Block a('a');
  bool called = false;
  writer->write(*file, 0, a.view(), [&](Result<void>) { called = true; });
  writer.reset();
  CHECK_FALSE(called);
  CHECK(read_block(*file, 0) == a.view());
}
