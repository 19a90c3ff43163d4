// Foreign bytes never crash the message decoder, and what it accepts encodes to something it reads the same
// way.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "consensus/configuration.h"
#include "consensus/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  using namespace cairn::consensus;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (const auto message = decode_message(SharedBytes(bytes))) {
    std::string again;
    encode_message(again, *message);
    const auto second = decode_message(SharedBytes(again));
    if (!second || *second != *message) std::abort();
  }
  if (const auto configuration = Configuration::decode(bytes)) {
    const auto second = Configuration::decode(configuration->encode());
    if (!second || *second != *configuration) std::abort();
  }
  return 0;
}
