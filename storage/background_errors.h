// How a tablet's background work fares, and when what failed is tried again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace cairn::storage {

enum class TabletCondition : uint8_t {
  kOk,
  kRetrying,  // compactions fail and are tried again; nobody notices but by growing amplification
  kReadOnly,  // what is in memory cannot be written out: new writes are refused, reads and what is committed go on
  kFailed,    // its files are damaged
};
std::string_view to_string(TabletCondition condition);  // "ok", "retrying", "read_only", "failed"

struct TabletHealth {
  TabletCondition condition = TabletCondition::kOk;
  std::string reason;     // empty: kOk
  uint64_t since_ms = 0;  // wall clock at the first of the failures in a row; 0: kOk
  uint32_t failures = 0;  // in a row
};

// Failures in a row of one kind of work. Pure: the owner waits.
class BackgroundErrors {
 public:
  // How long to wait before the next try: 1 s, doubled from failure to failure, at most 60 s; with a full disk half a
  // second, at most 5 s, since somebody may have made room.
  Duration failed(Error error, uint64_t now_ms);
  void succeeded() { *this = {}; }
  bool any() const { return failures_ > 0; }
  TabletHealth health(TabletCondition condition) const;

 private:
  std::optional<Error> last_;
  uint64_t since_ms_ = 0;
  uint32_t failures_ = 0;
};

}  // namespace cairn::storage
