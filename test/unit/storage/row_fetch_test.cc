// Rows that are not in memory: their blocks are asked for at once, and the answer is as of the moment it is given.
#include <catch2/catch.hpp>
#include <deque>

#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::put;
using test::TabletFixture;

// Reads when the test says so, in any order.
class HeldReader final : public AsyncReader {
 public:
  explicit HeldReader(Random& random) : random_(random) {}
  void read(const File& file, uint64_t offset, std::span<char> out, Done done) override {
    reads_.push_back({&file, offset, out, std::move(done)});
    most_ = std::max(most_, reads_.size());
  }
  size_t waiting() const { return reads_.size(); }
  size_t most() const { return most_; }
  bool run_one() {
    if (reads_.empty()) return false;
    const auto at = reads_.begin() + static_cast<ptrdiff_t>(random_.below(reads_.size()));
    Read read = std::move(*at);
    reads_.erase(at);
    read.done(read.file->read_at(read.offset, read.out));
    return true;
  }

 private:
  struct Read {
    const File* file;
    uint64_t offset;
    std::span<char> out;
    Done done;
  };
  Random& random_;
  std::vector<Read> reads_;
  size_t most_ = 0;
};

struct Fixture : TabletFixture {
  explicit Fixture(uint64_t seed = 1) : TabletFixture(seed), random(seed), held(random) {
    reader = &held;
    fs.set_cold(true);
    options.block_cache_bytes = 4 << 10;
  }
  ~Fixture() { store.reset(); }
  void fill(Tablet* tablet, uint64_t rows) {
    for (uint64_t i = 1; i <= rows; ++i) put(tablet, i, key(i), "value" + std::to_string(i) + std::string(50, '.'));
    tablet->flush();
    machine.settle();
  }
  static std::string key(uint64_t i) { return "key" + std::to_string(i * 7919 % 100'003); }
  FetchRequest rows(uint64_t first, uint64_t count, uint64_t step) {
    FetchRequest request;
    for (uint64_t i = 0; i < count; ++i) request.rows.push_back(key(first + i * step));
    return request;
  }
  void ask(Tablet* tablet, FetchRequest request) {
    answer.reset();
    tablet->fetch(std::move(request), [this](Result<FetchResult> r) { answer = std::move(r); });
    while (machine.loop.run_one()) {
    }
  }
  SeededRandom random;
  HeldReader held;
  std::optional<Result<FetchResult>> answer;
};

}  // namespace

TEST_CASE("the blocks of all rows that are missing are asked for at once, and each of them once") {
  Fixture f;
  REQUIRE(f.open());
  f.fill(f.tablet(), 1000);
  FetchRequest request = f.rows(1, 50, 20);
  request.rows.push_back("nobody");
  request.rows.push_back(request.rows[0]);
  f.ask(f.tablet(), std::move(request));
  CHECK(f.held.waiting() > 20);
  CHECK(f.held.waiting() <= 50);
  const size_t asked = f.held.waiting();
  while (f.held.run_one()) {
  }
  CHECK(f.held.most() == asked);  // one round was enough
  REQUIRE((f.answer && *f.answer));
  const auto& rows = (**f.answer).rows;
  REQUIRE(rows.size() == 52);
  for (uint64_t i = 0; i < 50; ++i) CHECK(rows[i]->starts_with("value" + std::to_string(1 + i * 20) + "."));
  CHECK(!rows[50]);
  CHECK(rows[51] == rows[0]);
}

TEST_CASE("an answer is as of the moment it is given, whatever happened while blocks were read") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Fixture f(seed);
    f.options.memtable_bytes = 8 << 10;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    std::map<std::string, std::string> model;
    uint64_t index = 0, answers = 0;
    std::vector<std::string> asked;
    const auto write = [&] {
      WriteBatch batch;
      const std::string key = Fixture::key(f.random.below(400));
      const std::string value = std::to_string(index) + std::string(f.random.below(120), '-');
      const uint64_t what = f.random.below(100);
      if (what < 80) {
        batch.put(key, value);
        model[key] = value;
      } else if (what < 98) {
        batch.remove(key);
        model.erase(key);
      } else if (what < 99) {
        batch.remove_prefix("key1");
        std::erase_if(model, [](const auto& row) { return row.first.starts_with("key1"); });
      } else {
        batch.clear_all();
        model.clear();
      }
      REQUIRE(tablet->apply(test::at(++index), batch.bytes()));
    };
    for (int i = 0; i < 500; ++i) write();
    for (int i = 0; i < 4000; ++i) {
      if (asked.empty()) {
        for (uint64_t n = 1 + f.random.below(20); n > 0; --n) asked.push_back(Fixture::key(f.random.below(400)));
        FetchRequest request;
        request.rows = asked;
        tablet->fetch(std::move(request), [&](Result<FetchResult> result) {
          REQUIRE(result);
          for (size_t row = 0; row < asked.size(); ++row) {
            const auto wanted = model.find(asked[row]);
            REQUIRE(result->rows[row].has_value() == (wanted != model.end()));
            if (wanted != model.end()) REQUIRE(*result->rows[row] == wanted->second);
          }
          asked.clear();
          ++answers;
        });
      }
      switch (f.random.below(4)) {
        case 0: write(); break;
        case 1: f.held.run_one(); break;
        case 2: f.machine.loop.run_one(); break;
        default: f.machine.background.run_one(); break;
      }
    }
    CHECK(answers > 50);
    CHECK(f.held.most() > 1);
  }
}

TEST_CASE("a read that fails fails the fetch only, damage is the tablet's, and a tablet that goes says so") {
  Fixture f;
  REQUIRE(f.open());
  f.fill(f.tablet(), 300);
  const auto read_all = [&] {
    while (f.held.run_one() || f.machine.step()) {
    }
  };
  f.faulty.set_policy({.fail = [](FileOp op, const std::string&) -> std::optional<Error> {
                         if (op == FileOp::kRead) return Error{ErrorCode::kIoError, "device"};
                         return std::nullopt;
                       },
                       .after_read = nullptr});
  f.ask(f.tablet(), f.rows(1, 20, 10));
  read_all();
  REQUIRE((f.answer && !*f.answer));
  CHECK(f.answer->error().code == ErrorCode::kIoError);
  CHECK(f.corruptions.empty());
  f.faulty.set_policy({});
  f.ask(f.tablet(), f.rows(1, 20, 10));
  read_all();
  REQUIRE((f.answer && *f.answer));

  f.ask(f.tablet(), f.rows(2, 20, 10));
  REQUIRE(f.held.waiting() > 0);
  REQUIRE(f.store->drop({1}));
  read_all();
  REQUIRE((f.answer && !*f.answer));
  CHECK(f.answer->error().code == ErrorCode::kUnavailable);

  f.fill(f.tablet(2), 300);
  f.faulty.set_policy({.fail = nullptr, .after_read = [](const std::string&, uint64_t, std::span<char> data, size_t&) {
                         data[data.size() / 2] ^= 1;
                       }});
  f.ask(f.tablet(2), f.rows(1, 20, 10));
  read_all();
  REQUIRE((f.answer && !*f.answer));
  CHECK(f.answer->error().code == ErrorCode::kCorruption);
  CHECK(f.corruptions.size() == 1);
}

TEST_CASE("a store that ends while blocks are read leaves nobody to answer, and nothing behind") {
  Fixture f;
  REQUIRE(f.open());
  f.fill(f.tablet(), 300);
  f.ask(f.tablet(), f.rows(1, 20, 10));
  REQUIRE(f.held.waiting() > 0);
  f.store.reset();
  while (f.held.run_one() || f.machine.loop.run_one()) {
  }
  CHECK(!f.answer);
}

}  // namespace cairn::storage
