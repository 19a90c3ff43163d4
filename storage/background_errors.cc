#include "storage/background_errors.h"

#include <algorithm>
#include <utility>

namespace cairn::storage {
namespace {

struct Delays {
  Duration first, most;
};
constexpr Delays kBroken{kSecond, 60 * kSecond};
constexpr Delays kFull{500 * kMillisecond, 5 * kSecond};
constexpr uint32_t kDoublingsMax = 16;

}  // namespace

std::string_view to_string(TabletCondition condition) {
  switch (condition) {
    case TabletCondition::kOk: return "ok";
    case TabletCondition::kRetrying: return "retrying";
    case TabletCondition::kReadOnly: return "read_only";
    case TabletCondition::kFailed: return "failed";
  }
  return "";
}

Duration BackgroundErrors::failed(Error error, uint64_t now_ms) {
  const Delays delays = error.code == ErrorCode::kNoSpace ? kFull : kBroken;
  if (failures_ == 0) since_ms_ = now_ms;
  const uint32_t doublings = std::min(failures_, kDoublingsMax);
  ++failures_;
  last_ = std::move(error);
  return std::min<Duration>(delays.first << doublings, delays.most);
}

TabletHealth BackgroundErrors::health(TabletCondition condition) const {
  if (failures_ == 0) return {};
  return {condition, last_->message, since_ms_, failures_};
}

}  // namespace cairn::storage
