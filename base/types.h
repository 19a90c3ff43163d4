// Numbers that must not be mixed have different types. A tag costs nothing at run time.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace cairn {

template <class Tag>
struct Number {
  uint64_t value = 0;
  friend constexpr auto operator<=>(Number, Number) = default;
  constexpr Number next() const { return {value + 1}; }
  constexpr Number prev() const { return {value - 1}; }
};

using Term = Number<struct TermTag>;                      // Raft term; 0 = before the first election
using LogIndex = Number<struct LogIndexTag>;              // position in one group's log; the first entry is 1
using SequenceNumber = Number<struct SequenceNumberTag>;  // order of writes inside one tablet; never reused
using NodeId = Number<struct NodeIdTag>;                  // given by group 0, never reused; 0 = none
using RangeId = Number<struct RangeIdTag>;                // 0 = the system range (group 0)
using ReplicaId = Number<struct ReplicaIdTag>;            // one life of a replica of one range; 0 = none
using Incarnation = Number<struct IncarnationTag>;        // boot counter of one node; durable before the first message
using SupportEpoch = Number<struct SupportEpochTag>;      // epoch of one node's support for another; 0 = none
using WriteSeq = Number<struct WriteSeqTag>;              // position in one replica's stream of log writes
using LogPosition = Number<struct LogPositionTag>;        // position in one shard's shared log, in records

// Time. Instant: nanoseconds of a monotonic clock that counts suspend, meaningful only inside one node.
using Instant = uint64_t;
using Duration = uint64_t;  // ns
inline constexpr Duration kMicrosecond = 1000;
inline constexpr Duration kMillisecond = 1000 * kMicrosecond;
inline constexpr Duration kSecond = 1000 * kMillisecond;
inline constexpr Instant kNever = ~uint64_t{0};

}  // namespace cairn

template <class Tag>
struct std::hash<cairn::Number<Tag>> {
  size_t operator()(cairn::Number<Tag> n) const noexcept {
    return static_cast<size_t>(n.value * 0x9E3779B97F4A7C15ull);
  }
};
