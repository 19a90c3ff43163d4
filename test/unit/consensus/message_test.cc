#include <catch2/catch.hpp>

#include "base/random.h"
#include "consensus/message.h"

using namespace cairn;
using namespace cairn::consensus;

namespace {

uint64_t any(SeededRandom& random) { return random.next() >> random.below(64); }

Message random_message(SeededRandom& random) {
  switch (random.below(5)) {
    case 0:
      return VoteRequest{{any(random)}, {any(random)},        {any(random)},
                         {any(random)}, random.below(2) == 0, random.below(2) == 0};
    case 1: return VoteReply{{any(random)}, random.below(2) == 0, random.below(2) == 0};
    case 2: {
      AppendRequest m{{any(random)}, {any(random)}, {any(random)}, {any(random)}, any(random), {}};
      const uint64_t count = random.below(5);
      for (uint64_t i = 0; i < count; ++i) {
        m.entries.push_back({{any(random)},
                             {any(random)},
                             static_cast<EntryType>(random.below(3)),
                             any(random),
                             SharedBytes(std::string(random.below(40), 'p'))});
      }
      return m;
    }
    case 3:
      return AppendReply{{any(random)}, random.below(2) == 0, {any(random)}, {any(random)},
                         {any(random)}, any(random),          {any(random)}, {any(random)}};
    default: return TimeoutNow{{any(random)}};
  }
}

std::string encoded(const Message& message) {
  std::string out;
  encode_message(out, message);
  return out;
}

}  // namespace

TEST_CASE("messages decode to what was encoded; payloads share the received bytes") {
  SeededRandom random(11);
  for (int i = 0; i < 20000; ++i) {
    const Message message = random_message(random);
    const SharedBytes bytes(encoded(message));
    const auto decoded = decode_message(bytes);
    REQUIRE(decoded);
    REQUIRE(*decoded == message);
    if (const auto* append = std::get_if<AppendRequest>(&*decoded)) {
      for (const Entry& entry : append->entries) {
        if (entry.payload.empty()) continue;
        CHECK((entry.payload.view().data() > bytes.view().data() &&
               entry.payload.view().data() < bytes.view().data() + bytes.size()));
      }
    }
  }
}

TEST_CASE("every prefix and every extension of a message is refused, and damage never crashes") {
  SeededRandom random(12);
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = encoded(random_message(random));
    const size_t cut = random.below(bytes.size());
    CHECK(!decode_message(SharedBytes(bytes.substr(0, cut))));
    CHECK(!decode_message(SharedBytes(bytes + "x")));
    std::string damaged = bytes;
    damaged[random.below(damaged.size())] ^= static_cast<char>(1 + random.below(255));
    if (const auto decoded = decode_message(SharedBytes(damaged))) {
      CHECK(decode_message(SharedBytes(encoded(*decoded))) == decoded);
    }
  }
}

TEST_CASE("unknown versions, kinds, flags and entry types are refused") {
  CHECK(!decode_message(SharedBytes()));
  CHECK(!decode_message(SharedBytes(std::string("\x02\x05\x01", 3))));
  CHECK(!decode_message(SharedBytes(std::string("\x01\x06\x01", 3))));
  CHECK(!decode_message(SharedBytes(std::string("\x01\x02\x04\x01", 4))));
  CHECK(decode_message(SharedBytes(std::string("\x01\x05\x01", 3))) == Message(TimeoutNow{{1}}));
}

TEST_CASE("the wire form is fixed") {
  AppendRequest m{{3}, {300}, {2}, {299}, 7, {{{301}, {3}, EntryType::kData, 5, SharedBytes("ab")}}};
  CHECK(encoded(m) == std::string("\x01\x03\x03\xAC\x02\x02\xAB\x02\x07\x01\xAD\x02\x03\x01\x05\x02"
                                  "ab",
                                  18));
}
