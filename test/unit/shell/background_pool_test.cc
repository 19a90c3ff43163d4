#include "server/runtime/background_pool.h"

#include <pthread.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <latch>
#include <string>
#include <utility>

namespace cairn::server {
namespace {

std::string thread_name() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

}  // namespace

TEST_CASE("a low job never goes to a thread for high jobs, a high one to whichever is free") {
  BackgroundPool pool(2);
  std::latch begun(1), released(1), other_done(1), low_done(1);
  std::string held_by, other_by, low_by;
  pool.submit(JobPriority::kHigh, [&] {
    held_by = thread_name();
    begun.count_down();
    released.wait();
    return false;
  });
  begun.wait();
  pool.submit(JobPriority::kHigh, [&] {
    other_by = thread_name();
    other_done.count_down();
    return false;
  });
  other_done.wait();
  pool.submit(JobPriority::kLow, [&] {
    low_by = thread_name();
    low_done.count_down();
    return false;
  });
  released.count_down();
  low_done.wait();
  CHECK(low_by == "cairn-compact");
  CHECK(held_by != other_by);
}

TEST_CASE("a high job of many slices is left to the thread for high jobs while the first compacts") {
  BackgroundPool pool(2);
  std::atomic<bool> stop = false;
  std::latch compacting(1), done(1);
  std::atomic<int> slices = 0, on_first = 0;
  pool.submit(JobPriority::kLow, [&, first = true]() mutable {
    if (std::exchange(first, false)) compacting.count_down();
    return !stop.load();
  });
  compacting.wait();
  pool.submit(JobPriority::kHigh, [&] {
    if (thread_name() == "cairn-compact") ++on_first;
    if (++slices < 1000) return true;
    done.count_down();
    return false;
  });
  done.wait();
  stop = true;
  pool.stop();
  CHECK(slices == 1000);
  CHECK(on_first < 1000);  // it may have begun before the other thread was there
}

TEST_CASE("one thread does all jobs, high ones first") {
  BackgroundPool pool(1);
  std::latch begun(1), released(1), done(2);
  std::string order;
  pool.submit(JobPriority::kLow, [&] {
    begun.count_down();
    released.wait();
    return false;
  });
  begun.wait();
  for (const auto& [priority, name] : {std::pair{JobPriority::kLow, 'l'}, std::pair{JobPriority::kHigh, 'h'}}) {
    pool.submit(priority, [&, name = name] {
      order.push_back(name);
      done.count_down();
      return false;
    });
  }
  released.count_down();
  done.wait();
  CHECK(order == "hl");
}

TEST_CASE("jobs that must rest, for others use the processors, go on all the same") {
  constexpr double kAlmostAll = 0.9;
  BackgroundPool pool(2, kAlmostAll);
  std::atomic<int> low = 0, high = 0;
  const auto job = [](std::atomic<int>& slices) {
    return [&slices] {
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
      while (std::chrono::steady_clock::now() < end) {
      }
      return ++slices < 20;
    };
  };
  pool.submit(JobPriority::kLow, job(low));
  pool.submit(JobPriority::kHigh, job(high));
  while (low < 20 || high < 20) {  // here is whoever is served
  }
  pool.submit(JobPriority::kHigh, [] { return true; });  // stopped while it rests
}

TEST_CASE("threads that wait for jobs at rest take those and nothing else") {
  BackgroundPool pool(3, 0.9);
  constexpr int kJobs = 6, kSlices = 200;
  std::atomic<int> slices = 0, strays = 0;
  for (int job = 0; job < kJobs; ++job) {
    pool.submit(JobPriority::kHigh, [&slices, left = kSlices]() mutable {
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(400);
      while (std::chrono::steady_clock::now() < end) {
      }
      ++slices;
      return --left > 0;
    });
  }
  for (int submitted = 0; slices < kJobs * kSlices; ++submitted) {  // here is whoever is served; it wakes them all
    if (submitted % 5000 != 0) continue;
    pool.submit(JobPriority::kLow, [&strays] {
      if (thread_name() != "cairn-compact") ++strays;
      return false;
    });
  }
  pool.stop();
  CHECK(slices == kJobs * kSlices);
  CHECK(strays == 0);
}

}  // namespace cairn::server
