#include "storage/scrub.h"

#include <algorithm>
#include <utility>

#include "storage/tablet_impl.h"

namespace cairn::storage {
namespace {
constexpr int kAttempts = 5;  // of reading a slice
constexpr Duration kRetryDelay = kSecond;
constexpr Duration kBurst = 50 * kMillisecond;  // of the rate, that a pause may have saved up
}  // namespace

Scrubber::~Scrubber() {
  if (timer_ != 0) store_.env().loop->cancel(timer_);
}

bool Scrubber::start(const std::vector<RangeId>& ranges) {
  if (status_.state == ScrubStatus::State::kRunning) return false;
  const uint64_t ended_ms = status_.ended_ms;
  status_ = {};
  status_.state = ScrubStatus::State::kRunning;
  status_.started_ms = store_.env().clock->wall_ms();
  status_.ended_ms = ended_ms;
  targets_.clear();
  for (const RangeId range : ranges) {
    const auto* tablet = static_cast<const TabletImpl*>(store_.find(range));
    if (tablet == nullptr) continue;
    for (const SstableInfo& info : tablet->tables()) {
      targets_.push_back({range, tablet->life(), info.id, info.bytes});
      ++status_.files;
      status_.bytes += info.bytes;
    }
  }
  ++pass_;
  attempts_ = 0;
  after(0, [this] { next_table(); });
  return true;
}

bool Scrubber::cancel() {
  if (status_.state != ScrubStatus::State::kRunning) return false;
  status_.state = ScrubStatus::State::kCancelled;
  targets_.clear();
  ++pass_;
  if (timer_ != 0) store_.env().loop->cancel(std::exchange(timer_, 0));
  return true;
}

void Scrubber::next_table() {
  while (!targets_.empty()) {
    const Target& target = targets_.front();
    const auto* tablet = static_cast<const TabletImpl*>(store_.find(target.range));
    auto table = tablet != nullptr && tablet->life() == target.life ? tablet->table(target.table) : nullptr;
    if (table) return submit(std::make_shared<TableScrub>(*store_.env().fs, std::move(table)));
    status_.bytes -= target.bytes;
    ++status_.files_done;
    targets_.pop_front();
  }
  status_.state = ScrubStatus::State::kDone;
  status_.ended_ms = store_.env().clock->wall_ms();
  store_.mutable_metrics().scrubs.add();
}

void Scrubber::submit(std::shared_ptr<TableScrub> scrub) {
  store_.env().background->submit(JobPriority::kLow, [this, scrub = std::move(scrub), pass = pass_,
                                                      loop = store_.env().loop, alive = store_.alive()] {
    if (alive.expired()) return false;
    const uint64_t before = scrub->bytes_read();
    auto result = std::make_shared<Result<bool>>(scrub->step());
    loop->post([this, scrub, pass, alive, result, bytes = scrub->bytes_read() - before] {
      if (!alive.expired() && pass == pass_) slice_done(scrub, *result, bytes);
    });
    return false;
  });
}

void Scrubber::slice_done(const std::shared_ptr<TableScrub>& scrub, const Result<bool>& result, uint64_t bytes) {
  status_.bytes_done += bytes;
  store_.mutable_metrics().scrubbed_bytes.add(bytes);
  const Instant now = store_.env().clock->now();
  free_at_ = std::max(free_at_, now > kBurst ? now - kBurst : 0) + bytes * kSecond / std::max<uint64_t>(rate_, 1);
  const Duration delay = free_at_ > now ? free_at_ - now : 0;
  if (!result) return failed(scrub, result.error());
  attempts_ = 0;
  if (*result) return after(delay, [this, scrub] { submit(scrub); });
  table_done(scrub->table());
  after(delay, [this] { next_table(); });
}

// A device may fail for a while and recover. What it has not given back after some seconds is as good as gone, unless
// it is the file system that does not answer.
void Scrubber::failed(const std::shared_ptr<TableScrub>& scrub, Error error) {
  if (error.code == ErrorCode::kIoError) {
    if (++attempts_ < kAttempts) return after(kRetryDelay, [this, scrub] { submit(scrub); });
    if (scrub->opened()) error = {ErrorCode::kCorruption, "unreadable: " + error.message};
  }
  attempts_ = 0;
  found(error);
  table_done(scrub->table());
  after(0, [this] { next_table(); });
}

void Scrubber::table_done(std::shared_ptr<const Sstable> table) {
  targets_.pop_front();
  ++status_.files_done;
  std::vector<std::shared_ptr<const void>> released{std::move(table)};  // it may be the last to have it
  store_.release_in_background(std::move(released));
}

void Scrubber::found(const Error& error) {
  const RangeId range = targets_.front().range;
  ++status_.errors;
  store_.mutable_metrics().scrub_errors.add();
  if (status_.findings.size() < ScrubStatus::kFindingsMax) status_.findings.push_back({range, to_string(error)});
  auto* tablet = static_cast<TabletImpl*>(store_.find(range));
  // A table that is not read any more harms nobody.
  const bool in_use =
      tablet != nullptr && tablet->life() == targets_.front().life && tablet->table(targets_.front().table);
  if (in_use) tablet->report_corruption(error);
}

void Scrubber::after(Duration delay, Task task) {
  auto run = [this, task = std::move(task), pass = pass_, alive = store_.alive()]() mutable {
    if (alive.expired() || pass != pass_) return;
    timer_ = 0;
    task();
  };
  if (delay == 0) return store_.env().loop->post(std::move(run));
  timer_ = store_.env().loop->run_after(delay, std::move(run));
}

}  // namespace cairn::storage
