#include "server/session/output_buffer.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>

#include "server/session/input_buffer.h"

using namespace cairn;
using namespace cairn::server;

namespace {
std::string letters(size_t bytes, size_t from) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('a' + (from + i) % 23);
  return text;
}
}  // namespace

TEST_CASE("output leaves in order, whatever is taken at once and whatever comes meanwhile") {
  for (const size_t reply : {size_t{1}, size_t{700}, size_t{70'000}, size_t{300'000}}) {
    OutputBuffer output;
    std::string sent;
    size_t written = 0;
    for (size_t round = 0; sent.size() < 2'000'000; ++round) {
      for (size_t i = 0; written < 2'000'000 && i < 1 + 3000 / reply; ++i) {
        output.tail() += letters(reply, written);
        written += reply;
        output.set_aside();
      }
      REQUIRE(output.size() == written - sent.size());
      std::array<iovec, 3> pieces;
      size_t room = 1 + (round * 7919) % 100'000;
      size_t taken = 0;
      const size_t count = output.pieces(pieces);
      for (size_t i = 0; i < count && room > 0; ++i) {
        const size_t take = std::min(room, pieces[i].iov_len);
        sent.append(static_cast<const char*>(pieces[i].iov_base), take);
        room -= take;
        taken += take;
      }
      REQUIRE(taken > 0);
      output.consume(taken);
    }
    sent += output.take();
    CHECK(output.empty());
    CHECK(sent == letters(written, 0));
  }
}

TEST_CASE("output that waits takes little more memory than its bytes, and none once it is gone and trimmed") {
  OutputBuffer output;
  for (size_t i = 0; i < 1'000'000; ++i) {
    output.tail() += "+OK\r\n";
    output.set_aside();
  }
  CHECK(output.size() == 5'000'000);
  CHECK(output.capacity() < 5'000'000 + 5'000'000 / 4 + 256 * 1024);
  output.consume(4'999'999);
  CHECK(output.capacity() < 256 * 1024);
  CHECK(output.front() == "\n");
  output.trim();
  CHECK(output.front() == "\n");  // it is not empty
  output.consume(1);
  output.trim();
  CHECK(output.capacity() < 64);
}

TEST_CASE("connections without input hold no memory for it, and use the same one after the other") {
  InputMemory memory;
  InputBuffer first(memory), second(memory);
  const char* place = first.space(16 * 1024).data();
  first.filled(0);
  CHECK(first.capacity() == 0);
  CHECK(second.space(16 * 1024).data() == place);
  second.filled(3);
  CHECK(second.size() == 3);
  CHECK(first.space(16 * 1024).data() != place);
  first.filled(0);
  second.consume(2);
  CHECK(second.capacity() > 0);
  second.consume(1);
  CHECK(second.capacity() == 0);
}
