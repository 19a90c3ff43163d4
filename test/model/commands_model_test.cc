// Random commands against a plain model of a keyspace: every reply must be the model's, and when all keys are
// gone no row may be left behind. Rows may be out of memory at any time, SET may be blind, and time passes
// between commands.
#include <catch2/catch.hpp>
#include <charconv>
#include <map>
#include <optional>
#include <variant>

#include "base/random.h"
#include "test/support/session_harness.h"

using namespace cairn;
using cairn::test::bulk;
using cairn::test::SessionHarness;

namespace {

using Hash = std::map<std::string, std::string>;
struct Value {
  std::variant<std::string, Hash> data;
  std::optional<uint64_t> expire_ms;
};

class Model {
 public:
  uint64_t now = 0;

  Value* find(const std::string& key) {
    const auto it = keys_.find(key);
    if (it == keys_.end()) return nullptr;
    if (it->second.expire_ms && *it->second.expire_ms <= now) {
      keys_.erase(it);
      return nullptr;
    }
    return &it->second;
  }
  void erase(const std::string& key) { keys_.erase(key); }
  Value& operator[](const std::string& key) { return keys_[key]; }
  size_t size() {
    std::erase_if(keys_, [&](const auto& entry) { return entry.second.expire_ms && *entry.second.expire_ms <= now; });
    return keys_.size();
  }

 private:
  std::map<std::string, Value> keys_;
};

std::string number(int64_t n) { return ":" + std::to_string(n) + "\r\n"; }
const std::string kNil = "$-1\r\n";
const std::string kOk = "+OK\r\n";
const std::string kWrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

class Runner {
 public:
  explicit Runner(uint64_t seed) : random_(seed) {
    model_.now = h_.sink.rows.now;
    h_.sink.rows.knows_exploded = random_.below(2) == 0;
    h_.sink.is_whole = random_.below(2) == 0;
    if (random_.below(2) == 0) h_.sink.rows.whole_max = random_.below(24);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      h_.sink.rows.cold = random_.below(3) == 0;
      if (random_.below(5) == 0) h_.sink.rows.now = model_.now += random_.below(40);
      step();
    }
    h_.sink.rows.cold = false;
    std::vector<std::string> all{"EXISTS"};
    int64_t there = 0;
    for (int i = 0; i < kKeys; ++i) {
      all.push_back(name(i));
      there += model_.find(name(i)) != nullptr;
    }
    expect(all, number(there));
    expect({"DBSIZE"}, number(static_cast<int64_t>(model_.size())));
    all[0] = "DEL";
    expect(all, number(there));
    REQUIRE(h_.sink.rows.rows().empty());
  }

 private:
  static constexpr int kKeys = 6;
  static std::string name(int i) {
    return i == 0 ? std::string() : i == 1 ? std::string("\0\xff", 2) : "k" + std::to_string(i);
  }
  std::string key() { return name(static_cast<int>(random_.below(kKeys))); }
  std::string field() { return "f" + std::to_string(random_.below(random_.below(3) == 0 ? 300 : 8)); }
  std::string value() {
    switch (random_.below(4)) {
      case 0: return std::to_string(random_.below(100));
      case 1: return std::string(random_.below(90), 'v');
      case 2: return std::string("\0\r\n", 3);
      default: return "v";
    }
  }

  void expect(const std::vector<std::string>& argv, const std::string& reply) {
    const std::string got = h_(argv);
    if (got == reply) return;
    std::string text;
    for (const std::string& argument : argv) text += argument.substr(0, 40) + " ";
    FAIL(text << "\n got " << got.substr(0, 300) << "\n not " << reply.substr(0, 300));
  }

  void step() {
    const std::string k = key();
    Value* v = model_.find(k);
    auto* text = v ? std::get_if<std::string>(&v->data) : nullptr;
    auto* hash = v ? std::get_if<Hash>(&v->data) : nullptr;
    const uint64_t choice = random_.below(16);
    switch (choice) {
      case 0: {
        const std::string x = value();
        expect({"SET", k, x}, kOk);
        model_[k] = {x, std::nullopt};
        break;
      }
      case 1: {
        const std::string x = value();
        const uint64_t ms = 1 + random_.below(100);
        expect({"SET", k, x, "PX", std::to_string(ms)}, kOk);
        model_[k] = {x, model_.now + ms};
        break;
      }
      case 2: {
        const std::string x = value();
        const bool nx = random_.below(2) == 0;
        const bool done = nx ? v == nullptr : v != nullptr;
        expect({"SET", k, x, nx ? "NX" : "XX", "KEEPTTL"}, done ? kOk : kNil);
        if (done) model_[k] = {x, v ? v->expire_ms : std::nullopt};
        break;
      }
      case 3: {
        const std::string x = value();
        if (hash) {
          expect({"SET", k, x, "GET"}, kWrong);
        } else {
          expect({"SET", k, x, "GET"}, text ? bulk(*text) : kNil);
          model_[k] = {x, std::nullopt};
        }
        break;
      }
      case 4: expect({"GET", k}, hash ? kWrong : text ? bulk(*text) : kNil); break;
      case 5: {
        const std::string other = key();
        const int64_t count = (v ? 1 : 0) + (other != k && model_.find(other) ? 1 : 0);
        expect({random_.below(2) ? "DEL" : "UNLINK", k, other}, number(count));
        model_.erase(k);
        model_.erase(other);
        break;
      }
      case 6: {
        std::vector<std::string> argv{"MGET"};
        std::string reply;
        const uint64_t n = 1 + random_.below(5);
        for (uint64_t i = 0; i < n; ++i) {
          argv.push_back(key());
          Value* one = model_.find(argv.back());
          const auto* s = one ? std::get_if<std::string>(&one->data) : nullptr;
          reply += s ? bulk(*s) : kNil;
        }
        expect(argv, "*" + std::to_string(n) + "\r\n" + reply);
        break;
      }
      case 7: {
        if (hash) {
          expect({"INCRBY", k, "7"}, kWrong);
          break;
        }
        int64_t n = 0;
        if (text) {
          const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), n);
          if (error != std::errc() || end != text->data() + text->size()) {
            expect({"INCRBY", k, "7"}, "-ERR value is not an integer or out of range\r\n");
            break;
          }
        }
        expect({"INCRBY", k, "7"}, number(n + 7));
        model_[k].data = std::to_string(n + 7);
        break;
      }
      case 8: {
        const std::string x = value();
        if (hash) {
          expect({"APPEND", k, x}, kWrong);
          break;
        }
        const std::string joined = (text ? *text : "") + x;
        expect({"APPEND", k, x}, number(static_cast<int64_t>(joined.size())));
        model_[k].data = joined;
        break;
      }
      case 9:
      case 10: {
        std::vector<std::string> argv{"HSET", k};
        const uint64_t n = random_.below(20) == 0 ? 140 : 1 + random_.below(4);
        Hash changed = hash ? *hash : Hash{};
        const size_t before = changed.size();
        for (uint64_t i = 0; i < n; ++i) {
          argv.push_back(field());
          argv.push_back(value());
          changed[argv[argv.size() - 2]] = argv.back();
        }
        if (text) {
          expect(argv, kWrong);
          break;
        }
        expect(argv, number(static_cast<int64_t>(changed.size() - before)));
        model_[k].data = std::move(changed);
        break;
      }
      case 11: {
        std::vector<std::string> argv{"HDEL", k};
        const uint64_t n = 1 + random_.below(random_.below(4) == 0 ? 200 : 3);
        for (uint64_t i = 0; i < n; ++i) argv.push_back(field());
        if (text) {
          expect(argv, kWrong);
          break;
        }
        int64_t removed = 0;
        if (hash) {
          for (size_t i = 2; i < argv.size(); ++i) removed += static_cast<int64_t>(hash->erase(argv[i]));
          if (hash->empty()) model_.erase(k);
        }
        expect(argv, number(removed));
        break;
      }
      case 12: {
        const std::string f = field();
        expect({"HGET", k, f}, text ? kWrong : hash && hash->contains(f) ? bulk(hash->at(f)) : kNil);
        expect({"HLEN", k}, text ? kWrong : number(hash ? static_cast<int64_t>(hash->size()) : 0));
        break;
      }
      case 13: {
        if (text) break;
        const std::string got = h_({"HGETALL", k});
        size_t expected = ("*" + std::to_string(hash ? 2 * hash->size() : 0) + "\r\n").size();
        if (hash) {
          for (const auto& [f, x] : *hash) {
            REQUIRE(got.find(bulk(f) + bulk(x)) != std::string::npos);
            expected += bulk(f).size() + bulk(x).size();
          }
        }
        REQUIRE(got.size() == expected);
        break;
      }
      case 14: {
        const int64_t ms = static_cast<int64_t>(random_.below(120)) - 20;
        expect({"PEXPIRE", k, std::to_string(ms)}, number(v ? 1 : 0));
        if (v && ms <= 0) model_.erase(k);
        if (v && ms > 0) v->expire_ms = model_.now + static_cast<uint64_t>(ms);
        break;
      }
      case 15: {
        expect({"PTTL", k}, number(!v ? -2 : !v->expire_ms ? -1 : static_cast<int64_t>(*v->expire_ms - model_.now)));
        expect({"PERSIST", k}, number(v && v->expire_ms ? 1 : 0));
        if (v) v->expire_ms.reset();
        break;
      }
    }
  }

  SeededRandom random_;
  SessionHarness h_;
  Model model_;
};

}  // namespace

TEST_CASE("commands answer as a plain model does") {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    INFO("seed " << seed);
    Runner(seed).run(600);
  }
}
