#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "base/checksum.h"
#include "base/random.h"
#include "sharding/hash_ring.h"
#include "sharding/placement.h"
#include "sharding/range_descriptor.h"
#include "sharding/slot.h"
#include "sharding/slot_map.h"

using namespace cairn;
using namespace cairn::sharding;

namespace {
std::vector<RingNode> ring_of(uint64_t count) {
  std::vector<RingNode> nodes;
  for (uint64_t id = 1; id <= count; ++id) nodes.push_back({{id}, 1});
  return nodes;
}
uint64_t hash_of(uint64_t i) { return hash64("key" + std::to_string(i)); }
}  // namespace

TEST_CASE("the ring does not depend on the order of its nodes, and its stored positions never change") {
  auto nodes = ring_of(5);
  const HashRing ring(nodes);
  std::reverse(nodes.begin(), nodes.end());
  const HashRing again(nodes);
  for (uint64_t i = 0; i < 2000; ++i) {
    REQUIRE(ring.owner(hash_of(i)) == again.owner(hash_of(i)));
    const auto owners = ring.owners(hash_of(i), 3);
    REQUIRE(owners == again.owners(hash_of(i), 3));
    REQUIRE((owners.size() == 3 && owners[0] == ring.owner(hash_of(i))));
    REQUIRE((owners[0] != owners[1] && owners[1] != owners[2] && owners[0] != owners[2]));
  }
  CHECK(ring.owners(7, 9).size() == 5);
  CHECK(HashRing({}).owner(7).value == 0);
  CHECK(ring.owner(0) == ring.owner(~uint64_t{0}));  // past the last point comes the first
}

TEST_CASE("a node that joins takes keys only to itself, about its share") {
  const HashRing before(ring_of(9)), after(ring_of(10));
  uint64_t moved = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    const NodeId was = before.owner(hash_of(i)), is = after.owner(hash_of(i));
    if (was == is) continue;
    REQUIRE(is.value == 10);
    ++moved;
  }
  CHECK((moved > 1200 && moved < 2800));
}

TEST_CASE("weights are shares") {
  std::vector<RingNode> nodes = ring_of(4);
  nodes[0].weight = 3;
  nodes[3].weight = 0;
  const HashRing ring(nodes);
  std::map<NodeId, uint64_t> counts;
  for (uint64_t i = 0; i < 50000; ++i) ++counts[ring.owner(hash_of(i))];
  CHECK(counts[{4}] == 0);
  CHECK((counts[{1}] > 25000 && counts[{1}] < 35000));
}

TEST_CASE("equal slot ranges cover every slot once") {
  for (const uint32_t parts : {1u, 2u, 3u, 7u, 16u, 100u, 16384u}) {
    const auto ranges = equal_slot_ranges(parts);
    REQUIRE(ranges.size() == parts);
    uint32_t next = 0, smallest = kSlots, largest = 0;
    for (const auto& [first, last] : ranges) {
      REQUIRE(first == next);
      next = last + 1;
      smallest = std::min(smallest, next - first);
      largest = std::max(largest, next - first);
    }
    CHECK(next == kSlots);
    CHECK(largest - smallest <= 1);
  }
}

TEST_CASE("replicas and preferred leaders are spread to within one, on different nodes, the same on every node") {
  SeededRandom random(5);
  for (int round = 0; round < 400; ++round) {
    std::vector<NodeId> nodes;
    const uint64_t count = 1 + random.below(12);
    for (uint64_t i = 0; i < count; ++i) nodes.push_back({1 + i * (1 + random.below(3)) + i});
    const auto ranges = static_cast<uint32_t>(1 + random.below(64));
    const auto replication = static_cast<uint32_t>(1 + random.below(5));
    const auto plan = plan_placement(nodes, ranges, replication);
    REQUIRE(plan.size() == ranges);
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    std::map<NodeId, uint32_t> replicas, leaders;
    for (const NodeId node : nodes) replicas[node] = leaders[node] = 0;
    for (const PlacedRange& range : plan) {
      REQUIRE(range.replicas.size() == std::min<size_t>(replication, nodes.size()));
      REQUIRE(std::is_sorted(range.replicas.begin(), range.replicas.end()));
      REQUIRE(std::adjacent_find(range.replicas.begin(), range.replicas.end()) == range.replicas.end());
      REQUIRE(std::find(range.replicas.begin(), range.replicas.end(), range.preferred_leader) != range.replicas.end());
      for (const NodeId node : range.replicas) ++replicas[node];
      ++leaders[range.preferred_leader];
    }
    for (const auto* loads : {&replicas, &leaders}) {
      const auto [low, high] =
          std::minmax_element(loads->begin(), loads->end(), [](auto& a, auto& b) { return a.second < b.second; });
      INFO("nodes " << nodes.size() << " ranges " << ranges << " replication " << replication);
      REQUIRE(high->second - low->second <= 1);
    }
    std::reverse(nodes.begin(), nodes.end());
    const auto again = plan_placement(nodes, ranges, replication);
    for (size_t i = 0; i < plan.size(); ++i) {
      REQUIRE((again[i].replicas == plan[i].replicas && again[i].preferred_leader == plan[i].preferred_leader));
    }
  }
  CHECK(plan_placement({}, 4, 3).empty());
}

TEST_CASE("range descriptors decode to what was encoded, and damage is refused") {
  RangeDescriptor d = make_slot_range({7}, "default", {3}, 1024, 2047, {{{3}, {30}}, {{1}, {10}}});
  CHECK(d.members.front().first.value == 1);
  CHECK((d.contains(slot_bound({3}, 1024)) && d.contains(slot_bound({3}, 2047)) && !d.contains(slot_bound({3}, 2048))));
  CHECK((d.contains_slot(2047) && !d.contains_slot(2048)));
  for (const bool whole : {false, true}) {
    d.whole = whole;
    std::string bytes;
    encode(bytes, d);
    CHECK(decode_range_descriptor(bytes) == d);
    for (size_t cut = 0; cut < bytes.size(); ++cut) CHECK(!decode_range_descriptor(bytes.substr(0, cut)));
    CHECK(!decode_range_descriptor(bytes + "x"));
    SeededRandom random(3);
    for (int i = 0; i < 2000; ++i) {
      std::string damaged = bytes;
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
      if (const auto decoded = decode_range_descriptor(damaged)) {
        std::string again;
        encode(again, *decoded);
        CHECK(decode_range_descriptor(again) == decoded);
      }
    }
  }
  std::swap(d.members[0], d.members[1]);
  std::string unsorted;
  encode(unsorted, d);
  CHECK(!decode_range_descriptor(unsorted));
}

namespace {
std::vector<RangeFacts> facts(uint32_t ranges) {
  const std::vector<NodeId> nodes{{1}, {2}, {3}};
  std::vector<RangeFacts> out;
  uint64_t id = 1;
  for (const PlacedRange& r : plan_placement(nodes, ranges, 3)) {
    out.push_back({r.first_slot, r.last_slot, {id++}, r.replicas, r.preferred_leader, r.preferred_leader});
  }
  return out;
}
uint32_t advertised(const SlotMap& map, NodeId node) {
  return static_cast<uint32_t>(
      std::count_if(map.owners.begin(), map.owners.end(), [&](const SlotOwner& o) { return o.owner == node; }));
}
}  // namespace

TEST_CASE("the slot map stands while nothing changes; elections alone do not change it") {
  auto ranges = facts(6);
  const SlotMapPolicy policy;
  const auto map = next_slot_map({}, ranges, {}, policy);
  REQUIRE(map);
  CHECK(map->version == 1);
  CHECK((map->find(0)->range.value == 1 && map->find(16383)->range.value == 6));
  CHECK(!next_slot_map(*map, ranges, {}, policy));
  for (RangeFacts& range : ranges) range.leader = {1 + range.preferred.value % 3};
  CHECK(!next_slot_map(*map, ranges, {}, policy));
}

TEST_CASE("slots leave a node that is down, spread over the others, and come back only after it has settled") {
  const auto ranges = facts(6);
  const SlotMapPolicy policy;
  const SlotMap map = *next_slot_map({}, ranges, {}, policy);
  CHECK(!next_slot_map(map, ranges, {{{2}, {false, policy.down_after - 1}}}, policy));
  const auto without = next_slot_map(map, ranges, {{{2}, {false, policy.down_after}}}, policy);
  REQUIRE(without);
  CHECK(without->version == 2);
  CHECK((advertised(*without, {2}) == 0 && advertised(*without, {1}) == 3 && advertised(*without, {3}) == 3));
  CHECK(!next_slot_map(*without, ranges, {{{2}, {true, policy.return_after - 1}}}, policy));
  const auto back = next_slot_map(*without, ranges, {{{2}, {true, policy.return_after}}}, policy);
  REQUIRE(back);
  CHECK((back->owners == map.owners && back->version == 3));
}

TEST_CASE("a substitute is the present leader if it is up; with nobody up the map stands") {
  auto ranges = facts(1);
  const SlotMap map = *next_slot_map({}, ranges, {}, {});
  const NodeId owner = map.owners[0].owner;
  const NodeId leader{owner.value == 3 ? 1ull : 3ull};
  ranges[0].leader = leader;
  const auto next = next_slot_map(map, ranges, {{owner, {false, kSecond}}}, {});
  REQUIRE(next);
  CHECK(next->owners[0].owner == leader);
  const NodeFacts gone{false, kSecond};
  CHECK(!next_slot_map(map, ranges, {{{1}, gone}, {{2}, gone}, {{3}, gone}}, {}));
}

TEST_CASE("ranges that split, vanish or lose a replica are followed") {
  auto ranges = facts(2);
  const SlotMap map = *next_slot_map({}, ranges, {}, {});
  ranges[0].replicas = {{4}, {5}};
  ranges[0].preferred = {5};
  const auto moved = next_slot_map(map, ranges, {}, {});
  REQUIRE(moved);
  CHECK(moved->find(0)->owner.value == 5);
  ranges.pop_back();
  const auto fewer = next_slot_map(*moved, ranges, {}, {});
  REQUIRE(fewer);
  CHECK(fewer->find(16383) == nullptr);
}

TEST_CASE("slot maps decode to what was encoded; overlaps are refused") {
  SlotMap map = *next_slot_map({}, facts(16), {}, {});
  std::string bytes;
  encode(bytes, map);
  CHECK(decode_slot_map(bytes) == map);
  for (size_t cut = 0; cut < bytes.size(); ++cut) CHECK(!decode_slot_map(bytes.substr(0, cut)));
  CHECK(!decode_slot_map(bytes + "x"));
  map.owners[3].first_slot = map.owners[2].last_slot;
  std::string overlapping;
  encode(overlapping, map);
  CHECK(!decode_slot_map(overlapping));
}
