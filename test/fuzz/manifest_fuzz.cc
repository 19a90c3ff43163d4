// Arbitrary edits, and arbitrary files where a store keeps its manifest: an error or a value, never a crash, and what
// was understood is written back the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/checksum.h"
#include "base/codec.h"
#include "storage/io/memory_file_system.h"
#include "storage/version/manifest.h"
#include "test/fuzz/check.h"

using namespace cairn;
using fuzz::check;
using namespace cairn::storage;

namespace {
void edits(std::string_view input) {
  const auto decoded = decode_edits(input);
  if (!decoded) return;
  const auto again = decode_edits(encode_edits(*decoded));
  check(again.has_value() && encode_edits(*again) == encode_edits(*decoded), "edits change when they are written back");
  for (const TabletEdit& edit : *decoded) (void)describe(edit);
  ManifestState state;
  const bool fits = state.fits(*decoded);
  check(state.apply(*decoded) == fits, "an edit fits, and is not applied");
  for (const auto& [life, tablet] : state.tablets) {
    ManifestState copy;
    check(copy.apply({state.snapshot(life)}), "the snapshot of a tablet does not apply");
  }
}

// The first half of the input is the file, the rest goes behind a manifest that a store has begun.
void files(std::string_view input) {
  const std::string_view head = input.substr(0, input.size() / 2), tail = input.substr(head.size());
  {
    MemoryFileSystem fs;
    if (!fs.create_dirs("/m") || !write_file_atomic(fs, "/m/MANIFEST-1", head) ||
        !write_file_atomic(fs, "/m/CURRENT", "MANIFEST-1\n")) {
      return;
    }
    (void)Manifest::open(fs, "/m");
  }
  MemoryFileSystem fs;
  if (!fs.create_dirs("/m")) return;
  std::string name;
  {
    const auto begun = Manifest::open(fs, "/m");
    check(begun.has_value(), "a new manifest does not open");
    TabletEdit created;
    created.life = 7;
    created.created = RangeId{1};
    check((*begun)->commit({created}).has_value(), "an edit is not committed");
  }
  const auto current = read_file(fs, "/m/CURRENT");
  check(current.has_value(), "there is no CURRENT");
  name = "/m/" + current->substr(0, current->find('\n'));
  auto bytes = read_file(fs, name);
  check(bytes.has_value(), "CURRENT names no file");
  if (!write_file_atomic(fs, name, *bytes + std::string(tail))) return;
  (void)Manifest::open(fs, "/m");
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  edits(input);
  files(input);
  return 0;
}
