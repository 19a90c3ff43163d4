#include <catch2/catch.hpp>

#include <chrono>
#include <string>

#include "fakes.h"
#include "storage/io/faulty_file_system.h"
#include "storage/io/memory_file_system.h"
#include "storage/log/shared_log.h"

namespace cairn::storage {
namespace {

using test::Machine;

struct LogFixture {
  explicit LogFixture(uint64_t seed = 1) : machine(seed) {}
  Machine machine;
  MemoryFileSystem fs;
  InlineDurableWriter writer;
  LogRecovery recovery;
  std::optional<Error> fatal;
  LogPosition durable;
  SharedLogOptions options{.first_segment_bytes = 64 << 10, .segment_bytes = 64 << 10, .batch_bytes_max = 16 << 10};
  std::unique_ptr<SharedLog> log;

  Result<void> open(FileSystem* other = nullptr) {
    log.reset();
    recovery = {};
    auto opened = SharedLog::open({.fs = other ? other : &fs,
                                   .writer = &writer,
                                   .background = &machine.background,
                                   .loop = &machine.loop,
                                   .clock = &machine.clock,
                                   .on_durable = [this](LogPosition p) { durable = p; },
                                   .on_fatal = [this](const Error& e) { fatal = e; }},
                                  "/log/0", options, &recovery);
    if (!opened) return opened.error();
    log = std::move(*opened);
    return {};
  }
  void entry(uint64_t group, uint64_t index, std::string payload, uint64_t term = 1) {
    log->append({group}, {{index}, {term}, 1, index * 10, SharedBytes(std::move(payload))});
  }
  const RecoveredGroup& group(uint64_t id) { return recovery.groups.at({id}); }
  std::string newest_segment() { return "/log/0/" + fs.list("/log/0")->back(); }
};

std::string payloads(const RecoveredGroup& group) {
  std::string all;
  for (const auto& entry : group.entries)
    all += std::to_string(entry.index.value) + ":" + std::string(entry.payload.view()) + " ";
  return all;
}

}  // namespace

TEST_CASE("every kind of record comes back from the log") {
  LogFixture f;
  REQUIRE(f.open());
  CHECK(f.recovery.groups.empty());
  f.log->create_group({7}, {3}, "descriptor");
  f.log->hard_state({7}, {{4}, {2}, {9}, {1}});
  for (uint64_t i = 1; i <= 5; ++i) f.entry(7, i, "p" + std::to_string(i));
  f.log->truncate_from({7}, {5});
  f.entry(7, 4, "again", 2);
  f.log->compact_to({7}, {{2}, {1}, "config"});
  f.log->put_slot({8}, {{3}, {1}, 2, 5, SharedBytes("slot")});
  f.log->put_slot({8}, {{9}, {1}, 2, 5, SharedBytes("nine")});
  f.log->put_slot({8}, {{3}, {2}, 2, 5, SharedBytes("slot2")});
  f.log->create_group({9}, {1}, "gone");
  f.log->tombstone_group({9}, {1});
  f.log->snapshot_mark({10}, {{{100}, {5}, "snap-config"}, 77});
  f.entry(10, 101, "after", 5);
  CHECK(f.log->durable() < f.log->end());
  f.log->flush();
  CHECK(f.log->durable() == f.log->end());
  CHECK(f.durable == f.log->end());
  CHECK(f.log->metrics().syncs.get() == 1);

  REQUIRE(f.open());
  CHECK(!f.recovery.suspect);
  CHECK(!f.recovery.torn_tail);
  CHECK(f.recovery.damage.empty());
  CHECK(f.group(7).replica == ReplicaId{3});
  CHECK(f.group(7).descriptor == "descriptor");
  CHECK(f.group(7).hard_state.voted_incarnation == Incarnation{9});
  CHECK(f.group(7).start.configuration == "config");
  CHECK(payloads(f.group(7)) == "3:p3 4:again ");
  CHECK(f.group(7).entries[1].ballot == Term{2});
  CHECK(f.group(8).slots.size() == 2);
  CHECK(f.group(8).slots.at({3}).payload.view() == "slot2");
  CHECK(f.group(9).tombstone == ReplicaId{1});
  CHECK(f.group(9).descriptor.empty());
  CHECK(f.group(10).snapshot_id == 77);
  CHECK(payloads(f.group(10)) == "101:after ");
  auto text = dump_log_segment(f.fs, "/log/0/0000000001.log");
  REQUIRE(text);
  CHECK(text->find("hard_state group 7 term 4 vote 2/9 commit 1") != std::string::npos);
}

TEST_CASE("a snapshot mark keeps later entries only where the log agrees with it, raft figure 13") {
  LogFixture f;
  REQUIRE(f.open());
  for (uint64_t i = 1; i <= 5; ++i) f.entry(1, i, "a", 1);
  for (uint64_t i = 1; i <= 5; ++i) f.entry(2, i, "a", 1);
  f.log->snapshot_mark({1}, {{{3}, {1}, ""}, 1});
  f.log->snapshot_mark({2}, {{{3}, {2}, ""}, 2});
  f.log->flush();
  REQUIRE(f.open());
  CHECK(payloads(f.group(1)) == "4:a 5:a ");
  CHECK(payloads(f.group(2)).empty());
}

TEST_CASE("a log cut at any byte is recovered up to a whole batch") {
  LogFixture f;
  f.options.first_segment_bytes = 32 << 10;
  REQUIRE(f.open());
  for (uint64_t i = 1; i <= 4; ++i) {
    f.entry(1, i, std::string(i == 2 ? 5000 : 10, 'x'));
    f.log->flush();
  }
  const std::string whole = *read_file(f.fs, "/log/0/0000000001.log");
  for (size_t cut = 0; cut < 28 << 10; cut += cut < 4200 || cut % 4096 < 100 || cut % 4096 > 4000 ? 1 : 97) {
    LogFixture g;
    REQUIRE(g.fs.create_dirs("/log/0"));
    std::string bytes = whole.substr(0, cut);
    REQUIRE(write_file_atomic(g.fs, "/log/0/0000000001.log", bytes));
    REQUIRE(g.open());
    const size_t entries = g.recovery.groups.contains({1}) ? g.group(1).entries.size() : 0;
    // Batches: 4096..8192, 8192..16384, 16384.., 20480..
    const size_t expected = cut < 4096 + 60     ? 0
                            : cut < 8192 + 5000 ? 1
                            : cut < 16384 + 60  ? 2
                            : cut < 20480 + 60  ? 3
                                                : 4;
    CHECK(entries <= expected + 1);
    CHECK(entries + 1 >= expected);
    CHECK(!g.recovery.suspect);
  }
}

TEST_CASE("every flipped bit of a small log is noticed or harmless") {
  LogFixture f;
  f.options.first_segment_bytes = 20 << 10;
  REQUIRE(f.open());
  f.log->create_group({1}, {1}, "d");
  for (uint64_t i = 1; i <= 3; ++i) {
    f.entry(1, i, "payload" + std::to_string(i));
    f.log->flush();
  }
  REQUIRE(f.open());  // a clean close vouches for the last batch
  const std::string before = payloads(f.group(1));
  f.log.reset();
  const std::string whole = *read_file(f.fs, "/log/0/0000000001.log");
  REQUIRE(whole.size() == 20 << 10);
  size_t noticed = 0;
  for (size_t byte = 0; byte < whole.size(); byte += byte % 4096 < 120 ? 1 : 61) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = whole;
      bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << bit));
      LogFixture g;
      REQUIRE(g.fs.create_dirs("/log/0"));
      REQUIRE(write_file_atomic(g.fs, "/log/0/0000000001.log", bytes));
      if (!g.open()) {
        ++noticed;
        continue;
      }
      const bool same = g.recovery.groups.contains({1}) && payloads(g.group(1)) == before;
      noticed += g.recovery.suspect;
      if (!same && !g.recovery.suspect) FAIL("silent loss at byte " << byte << " bit " << bit);
    }
  }
  CHECK(noticed > 100);
}

TEST_CASE("damage below the synced mark makes every group suspect, a torn tail none") {
  LogFixture f;
  REQUIRE(f.open());
  for (uint64_t i = 1; i <= 3; ++i) {
    f.entry(1, i, "x");
    f.entry(2, i, "x");
    f.log->flush();
  }
  f.log.reset();
  REQUIRE(f.fs.flip_bit("/log/0/0000000001.log", (8192 + 45) * 8));  // the second batch
  REQUIRE(f.open());
  CHECK(f.recovery.suspect);
  CHECK(f.group(1).suspect);
  CHECK(f.group(2).suspect);
  CHECK(f.recovery.damage.find("batches 2 to 2") != std::string::npos);

  LogFixture g;
  REQUIRE(g.open());
  g.entry(1, 1, "x");
  g.log->flush();
  g.log.reset();
  // The closing mark goes, then the last batch: nothing vouches for it any more.
  REQUIRE(g.fs.flip_bit("/log/0/0000000001.log", 8192 * 8));
  REQUIRE(g.fs.flip_bit("/log/0/0000000001.log", (4096 + 45) * 8));
  REQUIRE(g.open());
  CHECK(!g.recovery.suspect);
  CHECK(g.recovery.torn_tail);
}

TEST_CASE("bugs 23, 36: damage in an old segment is not the log's end, and later segments stay as they are") {
  LogFixture f;
  REQUIRE(f.open());
  for (uint64_t i = 1; i <= 40; ++i) {
    f.entry(1, i, std::string(5000, static_cast<char>('a' + i % 26)));
    f.log->flush();
    f.machine.settle();
  }
  f.log.reset();
  f.machine.settle();
  const std::vector<std::string> names = *f.fs.list("/log/0");
  REQUIRE(names.size() >= 3);
  REQUIRE(f.fs.flip_bit("/log/0/" + names.front(), 8 * 14'000));  // the middle of its second batch
  std::map<std::string, std::string> later;
  // The last one was made ahead and is empty.
  for (size_t i = 1; i + 1 < names.size(); ++i) later[names[i]] = *read_file(f.fs, "/log/0/" + names[i]);
  REQUIRE(f.open());
  CHECK(f.recovery.suspect);
  CHECK(!f.recovery.torn_tail);
  CHECK(f.recovery.damage.find(names.front()) != std::string::npos);
  for (const auto& [name, bytes] : later) {
    INFO(name);
    REQUIRE(*f.fs.exists("/log/0/" + name));
    CHECK(*read_file(f.fs, "/log/0/" + name) == bytes);
  }
}

TEST_CASE("bug 14: segments are recycled, and ghosts of their former life never come back") {
  LogFixture f;
  REQUIRE(f.open());
  f.log->create_group({1}, {5}, "me");
  f.log->hard_state({1}, {{3}, {1}, {1}, {0}});
  f.log->create_group({2}, {6}, "you");
  f.entry(2, 1, "kept for a while");
  uint64_t index = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 4; ++i) f.entry(1, ++index, std::string(500, static_cast<char>('a' + round % 26)));
    f.log->flush();
    f.machine.settle();
    if (round == 60) {
      CHECK(f.log->pinning_groups(1000) == std::vector<RangeId>{{1}, {2}});
      CHECK(f.log->pinning_groups(1 << 30).empty());
      f.log->compact_to({2}, {{1}, {1}, "c2"});
    }
    if (round > 60 && round % 5 == 0) f.log->compact_to({1}, {{index - 2}, {1}, "c1"});
  }
  f.log->flush();
  f.machine.settle();
  CHECK(f.log->metrics().segments_recycled.get() > 5);
  CHECK(f.log->live_bytes() < 4 * (64 << 10));
  CHECK(f.fs.list("/log/0")->size() < 10);
  for (int reopen = 0; reopen < 3; ++reopen) {
    REQUIRE(f.open());
    INFO(f.recovery.damage);
    CHECK(!f.recovery.suspect);
    CHECK(f.group(1).entries.size() == index - f.group(1).start.index.value);
    CHECK(f.group(1).entries.back().index == LogIndex{index});
    CHECK(f.group(1).descriptor == "me");
    CHECK(f.group(1).hard_state.term == Term{3});
    CHECK(f.group(2).descriptor == "you");
    CHECK(f.group(2).start.configuration == "c2");
    f.entry(1, ++index, "more");
    f.log->flush();
    f.machine.settle();
  }
}

TEST_CASE("a full disk closes the log for new writes before what is under way is lost, and it recovers by itself") {
  LogFixture f;
  REQUIRE(f.open());
  f.fs.set_capacity(f.fs.used_bytes() + 10'000);
  uint64_t index = 0;
  int refused_after = 0;
  while (f.log->has_room()) {
    f.entry(1, ++index, std::string(1000, 'x'));
    f.log->flush();
    f.machine.settle();
    REQUIRE(++refused_after < 100);
  }
  f.log->hard_state({1}, {{9}, {1}, {1}, {0}});
  f.log->flush();
  CHECK(f.log->durable() == f.log->end());
  CHECK(!f.fatal);
  f.fs.set_capacity(~0ull);
  CHECK(!f.log->has_room());
  f.machine.settle();
  CHECK(f.log->has_room());
  for (int i = 0; i < 30; ++i) {
    f.entry(1, ++index, std::string(1000, 'x'));
    f.log->flush();
    f.machine.settle();
  }
  CHECK(f.log->durable() == f.log->end());
  REQUIRE(f.open());
  CHECK(f.group(1).entries.size() == index);
  CHECK(f.group(1).hard_state.term == Term{9});
}

TEST_CASE("a record larger than a segment gets a segment of its own") {
  LogFixture f;
  REQUIRE(f.open());
  f.entry(1, 1, "small");
  f.entry(1, 2, std::string(300'000, 'L'));
  f.entry(1, 3, "small");
  f.log->flush();
  f.machine.settle();
  CHECK(f.log->durable() == f.log->end());
  REQUIRE(f.open());
  CHECK(f.group(1).entries.size() == 3);
  CHECK(f.group(1).entries[1].payload.size() == 300'000);
}

TEST_CASE("a failed durable write is fatal once and nothing is retried") {
  LogFixture f;
  FaultyFileSystem faulty(f.fs);
  REQUIRE(f.open(&faulty));
  f.entry(1, 1, "x");
  f.log->flush();
  faulty.set_policy({.fail = [](FileOp op, const std::string&) -> std::optional<Error> {
                       if (op == FileOp::kWriteDurable) return Error{ErrorCode::kIoError, "planned"};
                       return std::nullopt;
                     },
                     .after_read = nullptr});
  f.entry(1, 2, "y");
  f.log->flush();
  REQUIRE(f.fatal);
  CHECK(f.fatal->code == ErrorCode::kIoError);
  CHECK(!f.log->has_room());
  const uint64_t writes = faulty.calls(FileOp::kWriteDurable);
  f.log->flush();
  f.log.reset();
  CHECK(faulty.calls(FileOp::kWriteDurable) == writes);
}

TEST_CASE("a segment that the first batch was too large for may be named as the oldest, and stays as long as it is") {
  LogFixture f;
  REQUIRE(f.open());
  f.entry(1, 1, std::string(100 << 10, 'x'));
  f.log->flush();
  f.machine.settle();
  REQUIRE(f.durable == f.log->end());
  for (int life = 0; life < 3; ++life) {  // each ends before it has written anything
    f.fs.crash(f.machine.random, {.keep_data = 0, .keep_directory = 0});
    REQUIRE(f.open());
    CHECK(f.recovery.damage == "");
    CHECK(!f.recovery.suspect);
    CHECK(f.group(1).entries.size() == 1);
  }
}

TEST_CASE("log speed", "[.bench]") {
  struct NoDevice final : DurableWriter {
    void write(File&, uint64_t, std::string_view, Done done) override { done({}); }
  } no_device;
  LogFixture f;
  LogRecovery recovery;
  auto log = std::move(*SharedLog::open({.fs = &f.fs,
                                         .writer = &no_device,
                                         .background = &f.machine.background,
                                         .loop = &f.machine.loop,
                                         .clock = &f.machine.clock,
                                         .on_durable = nullptr,
                                         .on_fatal = nullptr},
                                        "/log/0", {}, &recovery));
  for (const size_t payload : {100, 4000}) {
    const SharedBytes bytes(std::string(payload, 'x'));
    const uint64_t count = 64'000'000 / (payload + 100);
    const uint64_t group = 1 + payload;
    const auto begin = std::chrono::steady_clock::now();
    for (uint64_t i = 1; i <= count; ++i) {
      log->append({group}, {{i}, {1}, 1, 1'700'000'000'000, bytes});
      if (i % 100 != 0) continue;
      log->flush();
      log->compact_to({group}, {{i - 1}, {1}, ""});
      while (!f.machine.background.idle() || !f.machine.loop.idle()) f.machine.step();
    }
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    WARN(payload << " bytes: " << static_cast<double>(count * payload) / s / 1e6 << " MB/s, "
                 << s * 1e9 / static_cast<double>(count) << " ns a record, zero-filling included");
  }
}

}  // namespace cairn::storage
