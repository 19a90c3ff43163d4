#include <catch2/catch.hpp>
#include <string>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "base/random.h"
#include "base/result.h"

using namespace cairn;

TEST_CASE("crc32c matches the vectors of RFC 3720 B.4") {
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62A8AB43u);
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c("6789", crc32c("12345")) == 0xE3069283u);
}

TEST_CASE("a string that is to be filled has just the size that was asked for") {
  for (size_t bytes = 0; bytes < 200; ++bytes) REQUIRE(unfilled_string(bytes).size() == bytes);
}

TEST_CASE("a decoder fails once and for all on short or malformed input") {
  std::string out;
  put_varint(out, 300);
  put_bytes(out, "abc");
  put_u32(out, 7);
  Decoder in(out);
  CHECK(in.varint() == 300);
  CHECK(in.bytes() == "abc");
  CHECK(in.u32() == 7);
  CHECK((in.ok() && in.at_end()));
  CHECK(in.u8() == 0);
  CHECK(!in.ok());

  std::string lie;
  put_varint(lie, ~uint64_t{0});
  Decoder liar(lie);
  CHECK(liar.bytes().empty());
  CHECK(!liar.ok());
  Decoder overlong(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10));
  overlong.varint();
  CHECK(!overlong.ok());
}

TEST_CASE("varints round trip") {
  SeededRandom random(1);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t value = random.next() >> random.below(64);
    std::string out;
    put_varint(out, value);
    Decoder in(out);
    REQUIRE(in.varint() == value);
    REQUIRE((in.ok() && in.at_end()));
  }
}

namespace {
Result<int> half(int n) {
  if (n % 2 != 0) return Error{ErrorCode::kInvalidArgument, "odd"};
  return n / 2;
}
Result<int> quarter(int n) {
  CAIRN_TRY(const int h, half(n));
  return half(h);
}
}  // namespace

TEST_CASE("results carry the first error up") {
  CHECK(quarter(8).value() == 2);
  CHECK(quarter(6).error().message == "odd");
  CHECK(quarter(7) == Result<int>(Error{ErrorCode::kInvalidArgument, "odd"}));
}

TEST_CASE("a slice keeps its bytes alive") {
  SharedBytes part;
  {
    SharedBytes whole(std::string(100, 'x') + "tail");
    part = whole.slice(100, 4);
  }
  CHECK(part.view() == "tail");
}
