// SCAN and its kin: cursors, options, and the page of one range.
//
// A cursor is a position in the order of rows, and nothing is kept for it: slot << 32 | hash32 of the key for SCAN,
// hash32 of the field for HSCAN (docs/decisions/scan-cursors.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/commands/command.h"

namespace cairn::server {

inline constexpr uint64_t kScanCursorEnd = uint64_t{16384} << 32;  // behind every position of a key
inline constexpr uint64_t kScanPageKeysMax = 1000;                 // that one evaluation looks at

struct ScanOptions {
  uint64_t count = 10;
  std::optional<std::string_view> pattern;
  std::optional<std::string_view> type;  // SCAN only
};

// Both answer an empty text, or the error in Redis' words. Cursors are read as strtoul() does.
std::string_view parse_scan_cursor(std::string_view text, uint64_t& cursor);
// `options`: what follows the cursor. `with_type`: TYPE is one of them.
std::string_view parse_scan_options(Argv options, bool with_type, ScanOptions& parsed);

// What is wrong with the arguments of SCAN, KEYS or RANDOMKEY; empty: nothing.
std::string_view scan_error(const CommandSpec& spec, Argv argv);

// The page of one range, sent to its leader by the node that walks over all ranges. Arguments: cursor, count, pattern,
// type (empty: any). Reply: array of the number of keys that were looked at, the next cursor (0: no slot is left), and
// the keys.
extern const CommandSpec kScanRangeCommand;

// SCAN itself, if one page of one range is its whole answer; kNeedsRows where it is not, or where many keys would have
// to be looked at in one turn. Never sent to another node.
extern const CommandSpec kScanAtOnceCommand;

}  // namespace cairn::server
