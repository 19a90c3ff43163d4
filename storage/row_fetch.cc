#include "storage/row_fetch.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/io/async_reader.h"

namespace cairn::storage {
namespace {
constexpr int kLooksMax = 16;  // then a pinned version is searched in the background: this one changes all the time
}

RowFetch::RowFetch(TabletImpl& tablet, FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done)
    : tablet_(tablet.weak_from_this()),
      store_(tablet.store().alive()),
      request_(std::move(request)),
      done_(std::move(done)) {}

void RowFetch::look() {
  if (store_.expired()) return;
  const auto tablet = tablet_.lock();
  if (!tablet) return fail({ErrorCode::kUnavailable, "the tablet was dropped"});
  if (const auto unfit = tablet->unfit()) return fail(*unfit);
  missing_.clear();
  unpacked_.clear();
  Source source(tablet->store().cache(), *this);
  FetchResult result;
  RunsProbed probed;
  uint64_t reads = 0;
  for (const std::string& key : request_.rows) {
    const Lookup found = tablet->look_up(key, hash64(key), source, probed, reads);
    const bool there = found.state == Lookup::State::kFound;
    result.rows.push_back(there ? std::optional<std::string>(found.value) : std::nullopt);
  }
  if (missing_.empty()) {
    tablet->count_reads(reads, probed);
    return std::exchange(done_, nullptr)(std::move(result));
  }
  if (++looks_ > kLooksMax) return tablet->fetch_pinned(std::move(request_), std::move(done_));
  const std::vector<Place> missing = missing_;
  for (const Place& place : missing) {
    const auto [at, fresh] = held_.try_emplace(place);
    if (!fresh) continue;
    at->second.version = tablet->version();
    at->second.life = tablet->life();
    ++reading_;
    read(place, at->second);
  }
}

void RowFetch::read(const Place& place, Held& held) {
  const auto tablet = tablet_.lock();
  const BlockHandle handle = place.first->handle(place.second);
  held.stored = unfilled_string(handle.size);
  tablet->store().reader().read(
      place.first->file(), handle.offset, held.stored,
      [self = shared_from_this(), place](Result<size_t> got) { self->was_read(place, std::move(got)); });
}

void RowFetch::was_read(const Place& place, Result<size_t> got) {
  --reading_;
  if (failed_ || store_.expired()) return;
  const auto tablet = tablet_.lock();
  if (!tablet) return fail({ErrorCode::kUnavailable, "the tablet was dropped"});
  const std::string stored = std::exchange(held_.at(place).stored, {});
  if (!got) return take(place, got.error());
  const auto checked = place.first->check(place.second, std::string_view(stored).substr(0, *got));
  auto block = checked ? place.first->unpack(*checked, tablet->store().cache().memory())
                       : Result<std::shared_ptr<const Block>>(checked.error());
  if (!block && block.error().code == ErrorCode::kCorruption) return read_again(place);
  take(place, std::move(block), *checked);
}

// By way of the background, from the device itself: it may be only memory that is damaged.
void RowFetch::read_again(const Place& place) {
  const auto tablet = tablet_.lock();
  ++reading_;
  const auto& env = tablet->store().env();
  env.background->submit(JobPriority::kHigh, [self = shared_from_this(), place, loop = env.loop] {
    auto block = std::make_shared<Result<std::shared_ptr<const Block>>>(place.first->read_block(place.second));
    loop->post([self, place, block] {
      --self->reading_;
      if (!self->failed_ && !self->store_.expired()) self->take(place, std::move(*block));
    });
    return false;
  });
}

void RowFetch::take(const Place& place, Result<std::shared_ptr<const Block>> block,
                    const std::optional<StoredBlock>& stored) {
  const auto tablet = tablet_.lock();
  if (!tablet) return fail({ErrorCode::kUnavailable, "the tablet was dropped"});
  Held& held = held_.at(place);
  if (!block) {
    if (held.life == tablet->life()) tablet->report_corruption(block.error());
    return fail(block.error());
  }
  held.block = std::move(*block);
  if (held.life == tablet->life()) {
    BlockCache& cache = tablet->store().cache();
    if (stored) {
      cache.offer(place.first->cached(), place.second, held.block, *stored);
    } else {
      cache.offer(place.first->cached(), place.second, held.block);
    }
  }
  if (reading_ == 0) look();
}

void RowFetch::fail(const Error& error) {
  failed_ = true;
  if (done_) std::exchange(done_, nullptr)(error);
}

Result<const Block*> RowFetch::Source::load(const Sstable& table, uint32_t ordinal, BlockUse use) {
  if (const Block* block = cache_.find(*table.cached(), ordinal, use)) return block;
  const auto held = fetch_.held_.find({&table, ordinal});
  if (held != fetch_.held_.end() && held->second.block) return held->second.block.get();
  if (const PackedBlock* packed = cache_.find_packed(*table.cached(), ordinal, use)) {
    if (auto block = table.unpack(packed->stored(), cache_.memory()))
      return (fetch_.unpacked_[{&table, ordinal}] = std::move(*block)).get();
    cache_.forget(*table.cached(), ordinal);
  }
  fetch_.missing_.emplace_back(&table, ordinal);
  return nullptr;
}

}  // namespace cairn::storage
