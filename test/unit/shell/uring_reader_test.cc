// Reads through io_uring and on threads: both bring what File::read_at() would, however many are asked for at once.
#include "server/runtime/uring_reader.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "server/runtime/background_pool.h"
#include "storage/io/real_file_system.h"
#include "test/unit/shell/temp_file.h"

using namespace cairn;
using namespace cairn::server;

namespace {

constexpr size_t kFileBytes = 3 << 20;

struct Fixture {
  TempFile temp{kFileBytes};
  std::unique_ptr<storage::FileSystem> fs = storage::make_real_file_system();
  std::unique_ptr<storage::File> file = fs->open(temp.path, storage::OpenMode::kRead).value();
  RealClock clock;
  EventLoop loop{clock};
  BackgroundPool pool{2};
  storage::BackgroundReader threads{pool, loop};

  // Many reads at random places, some of them across the end and behind it.
  void check(storage::AsyncReader& reader, size_t reads) {
    SeededRandom random(2);
    std::vector<std::string> buffers(reads);
    size_t done = 0, wrong = 0;
    for (std::string& buffer : buffers) {
      const uint64_t offset = random.below(kFileBytes + 1000);
      buffer.resize(1 + random.below(random.chance(0.1) ? 300'000 : 9'000));
      reader.read(*file, offset, buffer, [&, offset](Result<size_t> got) {
        const std::string_view wanted =
            std::string_view(temp.content).substr(std::min<size_t>(offset, kFileBytes), buffer.size());
        wrong += !got || std::string_view(buffer).substr(0, *got) != wanted;
        if (++done == reads) loop.stop();
      });
      REQUIRE(done == 0);  // never inside the call
    }
    loop.run([] {});
    CHECK(done == reads);
    CHECK(wrong == 0);
  }
};

// Can be asked for its bytes in the ordinary way only, or has a descriptor that cannot be read.
class OddFile final : public storage::File {
 public:
  explicit OddFile(int fd) : fd_(fd) {}
  Result<size_t> read_at(uint64_t, std::span<char> out) const override {
    std::ranges::fill(out, 'x');
    return out.size();
  }
  Result<std::optional<size_t>> read_cached(uint64_t, std::span<char>) const override { return {std::nullopt}; }
  int read_descriptor() const override { return fd_; }
  Result<void> write_at(uint64_t, std::string_view) override { return {}; }
  Result<void> write_durable(uint64_t, std::string_view) override { return {}; }
  Result<void> sync() override { return {}; }
  Result<uint64_t> size() const override { return 0; }
  Result<void> truncate(uint64_t) override { return {}; }
  Result<void> allocate(uint64_t) override { return {}; }

 private:
  int fd_;
};

}  // namespace

TEST_CASE("reads on threads bring what is in the file") {
  Fixture f;
  f.check(f.threads, 200);
}

TEST_CASE("reads through io_uring bring what is in the file, more of them than the ring holds too") {
  Fixture f;
  const auto reader = UringReader::create(f.loop, f.threads);
  if (!reader) {
    WARN("this kernel has or allows no io_uring");
    return;
  }
  f.check(*reader, 1000);
}

TEST_CASE("files that io_uring cannot read are read on threads, and an error of the device is an error") {
  Fixture f;
  const auto reader = UringReader::create(f.loop, f.threads);
  if (!reader) return;
  OddFile plain(-1), closed(1'000'000);
  std::string buffer(10, '\0'), other(10, '\0');
  std::optional<Result<size_t>> first, second;
  const auto stop_if_done = [&] {
    if (first && second) f.loop.stop();
  };
  reader->read(plain, 0, buffer, [&](Result<size_t> got) {
    first = std::move(got);
    stop_if_done();
  });
  reader->read(closed, 0, other, [&](Result<size_t> got) {
    second = std::move(got);
    stop_if_done();
  });
  f.loop.run([] {});
  CHECK((*first && **first == 10 && buffer == "xxxxxxxxxx"));
  REQUIRE(!*second);
  CHECK(second->error().code == ErrorCode::kIoError);
}

TEST_CASE("a reader that ends while reads are under way waits for them and runs nothing") {
  Fixture f;
  auto reader = UringReader::create(f.loop, f.threads);
  if (!reader) return;
  auto held = std::make_shared<int>(0);
  std::vector<std::string> buffers(300, std::string(50'000, '\0'));
  for (std::string& buffer : buffers) reader->read(*f.file, 0, buffer, [held](Result<size_t>) { ++*held; });
  reader.reset();
  CHECK(*held == 0);
  CHECK(held.use_count() == 1);
}
