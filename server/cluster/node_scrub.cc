// Scrubs that a node starts by itself: all of its SSTables once in every interval, restarts included.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "server/cluster/node.h"

namespace cairn::server {
namespace {

constexpr std::string_view kScrubMagic = "cairn scrub 1\nended_ms ";

std::string scrub_path(const std::string& data_dir) { return storage::join_path(data_dir, "SCRUB"); }

}  // namespace

// What the file does not tell costs a scrub that is late or early, nothing else.
void Node::load_scrub_time() {
  scrub_base_ms_ = env_.clock->wall_ms();
  const auto text = storage::read_file(*env_.fs, scrub_path(options_.data_dir));
  if (text && text->starts_with(kScrubMagic)) {
    uint64_t ended_ms = 0;
    const char* end = text->data() + text->size();
    const auto parsed = std::from_chars(text->data() + kScrubMagic.size(), end, ended_ms);
    if (parsed.ec == std::errc{} && parsed.ptr + 1 == end && *parsed.ptr == '\n') {
      scrub_base_ms_ = std::min(scrub_base_ms_, ended_ms);
      return;
    }
  }
  save_scrub_time();  // a node that never runs for a whole interval is scrubbed all the same
}

void Node::save_scrub_time() {
  env_.background->submit(JobPriority::kLow, [fs = env_.fs, log = env_.log, path = scrub_path(options_.data_dir),
                                              text = fmt::format("{}{}\n", kScrubMagic, scrub_base_ms_)] {
    if (const auto saved = storage::write_file_atomic(*fs, path, text); !saved) {
      log(LogLevel::kWarn, "the time of the scrub is not kept: " + to_string(saved.error()));
    }
    return false;
  });
}

bool Node::start_scrub(const std::vector<RangeId>& ranges) {
  if (!store_->scrub(ranges)) return false;
  scrubs_all_ = ranges.size() == replicas_.size();
  return true;
}

bool Node::cancel_scrub() {
  if (!store_->cancel_scrub()) return false;
  scrub_base_ms_ = env_.clock->wall_ms();  // whoever cancels it does not want the next one at once
  scrubs_all_ = false;
  return true;
}

// Nodes that were set up together do not scrub together.
void Node::scrub_if_due() {
  using State = storage::ScrubStatus::State;
  const storage::ScrubStatus& status = store_->scrub_status();
  if (status.state == State::kRunning) return;
  if (scrubs_all_ && status.state == State::kDone) {
    scrubs_all_ = false;
    scrub_base_ms_ = status.ended_ms;
    save_scrub_time();
    if (status.errors > 0) note(LogLevel::kError, fmt::format("scrub: {} damaged SSTables", status.errors));
  }
  const uint64_t interval_ms = options_.scrub_interval / kMillisecond;
  if (interval_ms == 0 || replicas_.empty()) return;
  const uint64_t now_ms = env_.clock->wall_ms();
  if (now_ms < scrub_base_ms_) scrub_base_ms_ = now_ms;  // the clock went back
  const uint64_t earlier_ms = interval_ms / 32 * (identity_.node.value % 8);
  if (now_ms - scrub_base_ms_ + earlier_ms < interval_ms) return;
  std::vector<RangeId> ranges;
  for (const auto& [range, replica] : replicas_) ranges.push_back(range);
  if (start_scrub(ranges)) note(LogLevel::kInfo, fmt::format("scrub of {} ranges begins", ranges.size()));
}

}  // namespace cairn::server
