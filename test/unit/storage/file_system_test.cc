#include <unistd.h>
#include <catch2/catch.hpp>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/random.h"
#include "storage/io/faulty_file_system.h"
#include "storage/io/memory_file_system.h"
#include "storage/io/real_file_system.h"

namespace cairn::storage {
namespace {

std::string content(FileSystem& fs, const std::string& path) {
  auto bytes = read_file(fs, path);
  return bytes ? *bytes : "<" + std::string(to_string(bytes.error().code)) + ">";
}

void behaves_like_a_file_system(FileSystem& fs, const std::string& base) {
  const std::string dir = join_path(base, "a/b");
  REQUIRE(fs.create_dirs(dir));
  REQUIRE(fs.create_dirs(dir));
  const std::string one = join_path(dir, "one");
  CHECK(fs.open(one, OpenMode::kRead).error().code == ErrorCode::kNotFound);
  {
    auto file = fs.open(one, OpenMode::kCreateNew);
    REQUIRE(file);
    REQUIRE((*file)->write_at(0, "hello world"));
    REQUIRE((*file)->write_at(6, "there"));
    REQUIRE((*file)->sync());
    CHECK((*file)->size() == Result<uint64_t>(11));
    char buffer[32];
    CHECK((*file)->read_at(6, buffer) == Result<size_t>(5));
    CHECK((*file)->read_at(20, buffer) == Result<size_t>(0));
    auto cached = (*file)->read_cached(0, std::span(buffer, 5));
    REQUIRE(cached);
    if (*cached) CHECK(std::string_view(buffer, 5) == "hello");
    REQUIRE((*file)->truncate(5));
    REQUIRE((*file)->write_durable(5, "!"));
    REQUIRE((*file)->allocate(3));  // it is larger already
    CHECK((*file)->size() == Result<uint64_t>(6));
    REQUIRE((*file)->allocate(10'000));
    CHECK((*file)->size() == Result<uint64_t>(10'000));
    REQUIRE((*file)->truncate(6));
  }
  CHECK(content(fs, one) == "hello!");
  CHECK(fs.open(one, OpenMode::kCreateNew).error().code == ErrorCode::kAlreadyExists);
  const std::string two = join_path(dir, "two");
  REQUIRE(fs.link(one, two));
  CHECK(fs.link(one, two).error().code == ErrorCode::kAlreadyExists);
  REQUIRE(fs.remove(one));
  CHECK(content(fs, two) == "hello!");
  REQUIRE(write_file_atomic(fs, one, "1"));
  REQUIRE(fs.rename(one, two));
  CHECK(content(fs, two) == "1");
  CHECK(fs.list(dir) == Result<std::vector<std::string>>(std::vector<std::string>{"two"}));
  {
    auto file = fs.open(two, OpenMode::kReadWrite);
    REQUIRE((*file)->write_at(0, std::string(8192, 'z')));
    REQUIRE((*file)->sync());
  }
  {
    auto file = fs.open(two, OpenMode::kLog);
    REQUIRE(file);
    void* aligned = std::aligned_alloc(4096, 4096);
    std::memset(aligned, 'y', 4096);
    REQUIRE((*file)->write_durable(4096, std::string_view(static_cast<char*>(aligned), 4096)));
    std::free(aligned);
  }
  CHECK(content(fs, two) == std::string(4096, 'z') + std::string(4096, 'y'));
  const std::string lock_path = join_path(base, "LOCK");
  {
    auto held = fs.lock(lock_path);
    REQUIRE(held);
    CHECK(fs.lock(lock_path).error().code == ErrorCode::kInUse);
  }
  CHECK(fs.lock(lock_path));
  CHECK(*fs.free_bytes(base) > 0);
  REQUIRE(remove_tree(fs, join_path(base, "a")));
  CHECK(fs.exists(dir) == Result<bool>(false));
}

}  // namespace

TEST_CASE("the real file system does what the interface says") {
  char name[] = "/tmp/cairn-fs-XXXXXX";
  REQUIRE(mkdtemp(name) != nullptr);
  auto fs = make_real_file_system();
  behaves_like_a_file_system(*fs, name);
  REQUIRE(remove_tree(*fs, name));
}

TEST_CASE("the memory file system does what the interface says, also behind the faulty one") {
  MemoryFileSystem memory;
  REQUIRE(memory.create_dirs("/base"));
  behaves_like_a_file_system(memory, "/base");
  FaultyFileSystem faulty(memory);
  behaves_like_a_file_system(faulty, "/base");
  CHECK(faulty.calls(FileOp::kRename) == 2);
}

TEST_CASE("a crash keeps what was synced and may lose, mix or tear the rest") {
  bool lost = false, kept = false, torn = false;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    MemoryFileSystem fs;
    REQUIRE(fs.create_dirs("/d"));
    auto file = std::move(*fs.open("/d/f", OpenMode::kCreateNew));
    REQUIRE(file->write_at(0, std::string(8192, 'a')));
    REQUIRE(file->sync());
    REQUIRE(fs.sync_dir("/d"));
    REQUIRE(begin_durable(*file, 4096, std::string(4096, 'b')));
    REQUIRE(file->write_durable(0, std::string(512, 'c')));
    SeededRandom random(seed);
    fs.crash(random);
    CHECK(!file->write_at(0, "x"));
    const std::string now = content(fs, "/d/f");
    REQUIRE(now.size() == 8192);
    CHECK(now.substr(0, 4096) == std::string(512, 'c') + std::string(3584, 'a'));
    size_t sectors_b = 0;
    for (size_t at = 4096; at < 8192; at += 512) {
      const std::string sector = now.substr(at, 512);
      CHECK((sector == std::string(512, 'a') || sector == std::string(512, 'b')));
      sectors_b += sector[0] == 'b';
    }
    lost |= sectors_b == 0;
    kept |= sectors_b == 8;
    torn |= sectors_b > 0 && sectors_b < 8;
  }
  CHECK(torn);
  (void)lost;
  (void)kept;
}

TEST_CASE("names that no directory sync covers may vanish, synced ones stay, renames are atomic") {
  bool saw_old = false, saw_new = false;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    MemoryFileSystem fs;
    REQUIRE(fs.create_dirs("/d"));
    REQUIRE(write_file_atomic(fs, "/d/current", "old"));
    auto file = std::move(*fs.open("/d/next", OpenMode::kCreateNew));
    REQUIRE(file->write_at(0, "new"));
    REQUIRE(file->sync());
    REQUIRE(fs.rename("/d/next", "/d/current"));
    SeededRandom random(seed);
    fs.crash(random);
    const std::string now = content(fs, "/d/current");
    CHECK((now == "old" || now == "new"));
    saw_old |= now == "old";
    saw_new |= now == "new";
  }
  CHECK(saw_old);
  CHECK(saw_new);
}

TEST_CASE("the memory file system runs out of space and gets it back") {
  MemoryFileSystem fs;
  fs.set_capacity(10'000);
  auto file = std::move(*fs.open("/f", OpenMode::kCreateNew));
  CHECK(file->write_at(0, std::string(10'001, 'x')).error().code == ErrorCode::kNoSpace);
  REQUIRE(file->write_at(0, std::string(10'000, 'x')));
  CHECK(*fs.free_bytes("/") == 0);
  REQUIRE(fs.remove("/f"));
  CHECK(*fs.free_bytes("/") == 10'000);
}

TEST_CASE("the faulty file system fails and spoils what its policy says") {
  MemoryFileSystem memory;
  REQUIRE(write_file_atomic(memory, "/f", "abc"));
  FaultyFileSystem fs(memory);
  fs.set_policy({.fail = [](FileOp op, const std::string& path) -> std::optional<Error> {
                   if (op == FileOp::kSync) return Error{ErrorCode::kIoError, "planned: " + path};
                   return std::nullopt;
                 },
                 .after_read =
                     [](const std::string&, uint64_t, std::span<char> data, size_t& got) {
                       data[0] ^= 1;
                       got = 2;
                     }});
  char bytes[3] = {};
  CHECK(*(*fs.open("/f", OpenMode::kRead))->read_at(0, bytes) == 2);
  CHECK(bytes[0] == '`');
  // A file of which only a part can be read is not taken for a shorter one.
  CHECK(read_file(fs, "/f").error().code == ErrorCode::kIoError);
  CHECK(write_file_atomic(fs, "/g", "x").error().code == ErrorCode::kIoError);
}

}  // namespace cairn::storage
