#include "server/cluster/follower_pressure.h"

#include <catch2/catch.hpp>

namespace cairn::server {
namespace {

std::vector<consensus::Member> voters(uint64_t count) {
  std::vector<consensus::Member> members;
  for (uint64_t node = 1; node <= count; ++node) members.push_back({{node}, {1}});
  return members;
}

}  // namespace

TEST_CASE("writes keep the pace of the slowest follower that a majority needs, and of no slower one") {
  FollowerPressure pressure;
  const NodeId self{1};
  CHECK(pressure.delay(voters(3), self) == 0);
  pressure.report({2}, true, 500);
  CHECK(pressure.delay(voters(3), self) == 0);  // 3 keeps up
  CHECK(pressure.delay(voters(2), self) == 500);
  CHECK(pressure.delay(voters(1), self) == 0);
  pressure.report({3}, true, 300);
  CHECK(pressure.delay(voters(3), self) == 300);
  CHECK(pressure.delay(voters(5), self) == 0);  // 4 and 5 keep up
  pressure.report({4}, true, 400);
  CHECK(pressure.delay(voters(5), self) == 300);
  pressure.report({5}, true, 600);
  CHECK(pressure.delay(voters(5), self) == 400);
  // As a learner or elsewhere: all voters are others.
  CHECK(pressure.delay({{{2}, {1}}, {{3}, {1}}, {{4}, {1}}}, self) == 400);
  pressure.report({3}, true, 0);
  CHECK(pressure.delay(voters(3), self) == 0);
}

TEST_CASE("an unreachable follower counts as the slowest, and without a majority nobody waits") {
  FollowerPressure pressure;
  const NodeId self{1};
  pressure.report({2}, false, 0);
  CHECK(pressure.delay(voters(3), self) == 0);
  pressure.report({3}, true, 200);
  CHECK(pressure.delay(voters(3), self) == 200);
  pressure.report({3}, false, 200);
  pressure.report({4}, true, 100);
  CHECK(pressure.delay(voters(3), self) == 0);
  pressure.report({2}, true, 50);
  CHECK(pressure.delay(voters(3), self) == 50);
}

}  // namespace cairn::server
