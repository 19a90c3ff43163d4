// IoPace for the loop and the background together, and the reads that it goes by.
#pragma once

#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/executor.h"
#include "storage/io/async_reader.h"
#include "storage/io/io_pace.h"

namespace cairn::storage {

// Thread safety: any thread.
class IoTokens {
 public:
  explicit IoTokens(const IoPaceOptions& options) : pace_(options) {}
  void read_began(Instant now) {
    const std::lock_guard lock(mutex_);
    pace_.read_began(now);
  }
  void read_ended(Instant now, Duration took) {
    const std::lock_guard lock(mutex_);
    pace_.read_ended(now, took);
  }
  void moved(Instant now, uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    pace_.moved(now, bytes);
  }
  Duration wait(Instant now) {
    const std::lock_guard lock(mutex_);
    return pace_.wait(now);
  }
  struct State {
    uint64_t rate = 0;  // bytes a second
    bool limits = false;
  };
  State state(Instant now) {
    const std::lock_guard lock(mutex_);
    return {pace_.rate(), pace_.limits(now)};
  }

 private:
  std::mutex mutex_;
  IoPace pace_;  // guarded by mutex_
};

// Tells the tokens how long the reads of another reader take. Thread safety: as that one.
class MeasuredReader final : public AsyncReader {
 public:
  MeasuredReader(AsyncReader& inner, const Clock& clock, std::shared_ptr<IoTokens> tokens)
      : inner_(inner), clock_(clock), tokens_(std::move(tokens)) {}
  void read(const File& file, uint64_t offset, std::span<char> out, Done done) override {
    const Instant began = clock_.now();
    tokens_->read_began(began);
    inner_.read(file, offset, out,
                [began, clock = &clock_, tokens = tokens_, done = std::move(done)](Result<size_t> got) mutable {
                  const Instant now = clock->now();
                  tokens->read_ended(now, now - began);
                  done(std::move(got));
                });
  }

 private:
  AsyncReader& inner_;
  const Clock& clock_;
  std::shared_ptr<IoTokens> tokens_;
};

}  // namespace cairn::storage
