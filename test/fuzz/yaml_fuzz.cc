// Any text as a configuration file: an error that names the file, or a configuration whose printed and rewritten forms
// load to the same values.
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "config/node_config.h"
#include "test/fuzz/check.h"

using namespace cairn;
using fuzz::check;

namespace {
Result<config::NodeConfig> load(std::string_view text) {
  static const std::string file = "/tmp/yaml_fuzz-" + std::to_string(::getpid()) + ".yaml";
  std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
  config::LoadRequest request;
  request.file = file;
  auto loaded = config::load(request);
  ::unlink(file.c_str());
  if (!loaded)
    check(loaded.error().message.find("yaml_fuzz-") != std::string::npos ||
              loaded.error().code == ErrorCode::kInvalidArgument,
          "an error that does not say where: " + loaded.error().message);
  return loaded;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)config::parse_bytes(text);
  (void)config::is_address(text);
  (void)config::items_of(text);
  if (const auto duration = config::parse_duration(text)) {
    const auto again = config::parse_duration(config::format_duration(*duration));
    check(again.has_value() && *again == *duration, "a duration changes when it is printed");
  }
  const auto loaded = load(text);
  if (!loaded) return 0;
  (void)config::show(*loaded);
  (void)config::rewritten(text, *loaded);
  return 0;
}
