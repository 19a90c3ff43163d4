// Quorum and lease arithmetic against brute force over all subsets.
#include <catch2/catch.hpp>

#include "base/random.h"
#include "consensus/lease.h"
#include "consensus/progress.h"
#include "consensus/quorum.h"
#include "consensus/raft/log_view.h"
#include "consensus/read_queue.h"

using namespace cairn;
using namespace cairn::consensus;

namespace {

Configuration random_configuration(SeededRandom& random, uint64_t nodes) {
  Configuration c;
  for (uint64_t id = 1; id <= nodes; ++id) {
    if (random.below(2) == 0) c.voters.push_back({{id}, {id}});
    if (random.below(2) == 0) c.outgoing.push_back({{id}, {id}});
    if (random.below(3) == 0) c.learners.push_back({{id}, {id}});
  }
  if (c.voters.empty()) c.voters.push_back({{1}, {1}});
  if (random.below(2) == 0) c.outgoing.clear();
  return c;
}

bool majority_in(const std::vector<Member>& voters, uint64_t subset) {
  size_t count = 0;
  for (const Member& m : voters) count += (subset >> m.node.value) & 1;
  return voters.empty() || 2 * count > voters.size();
}
bool quorum(const Configuration& c, uint64_t subset) {
  return majority_in(c.voters, subset) && majority_in(c.outgoing, subset);
}

}  // namespace

TEST_CASE("a quorum's value is the largest that every member of some quorum reaches") {
  SeededRandom random(1);
  for (int round = 0; round < 3000; ++round) {
    const uint64_t nodes = 1 + random.below(random.below(4) == 0 ? 12 : 6);
    const Configuration c = random_configuration(random, nodes);
    uint64_t values[16] = {};
    for (uint64_t id = 1; id <= nodes; ++id) values[id] = random.below(8);
    uint64_t best = 0;
    for (uint64_t subset = 0; subset < (uint64_t{2} << nodes); subset += 2) {
      if (!quorum(c, subset)) continue;
      uint64_t least = ~uint64_t{0};
      for (uint64_t id = 1; id <= nodes; ++id) {
        if ((subset >> id) & 1 && c.is_voter({id})) least = std::min(least, values[id]);
      }
      if (least != ~uint64_t{0}) best = std::max(best, least);
    }
    REQUIRE(quorum_value(c, [&](NodeId node) { return values[node.value]; }) == best);
  }
}

TEST_CASE("an election is won, lost or open exactly as the ballots decide") {
  SeededRandom random(2);
  for (int round = 0; round < 3000; ++round) {
    const uint64_t nodes = 1 + random.below(6);
    const Configuration c = random_configuration(random, nodes);
    Ballot ballots[16];
    uint64_t yes = 0, possible = 0;
    for (uint64_t id = 1; id <= nodes; ++id) {
      ballots[id] = static_cast<Ballot>(random.below(3));
      if (ballots[id] == Ballot::kYes) yes |= uint64_t{1} << id;
      if (ballots[id] != Ballot::kNo) possible |= uint64_t{1} << id;
    }
    const VoteResult expected = quorum(c, yes)        ? VoteResult::kWon
                                : quorum(c, possible) ? VoteResult::kPending
                                                      : VoteResult::kLost;
    REQUIRE(tally(c, [&](NodeId node) { return ballots[node.value]; }) == expected);
  }
}

TEST_CASE("any two quorums of a configuration, and of a change's neighbours, share a voter") {
  SeededRandom random(3);
  for (int round = 0; round < 300; ++round) {
    const Configuration joint = random_configuration(random, 5);
    Configuration before, after;
    before.voters = joint.joint() ? joint.outgoing : joint.voters;
    after.voters = joint.voters;
    for (uint64_t a = 0; a < 64; a += 2) {
      for (uint64_t b = 0; b < 64; b += 2) {
        if ((a & b) != 0) continue;
        REQUIRE(!(quorum(joint, a) && quorum(joint, b)));
        REQUIRE(!(quorum(joint, a) && quorum(before, b)));
        REQUIRE(!(quorum(joint, a) && quorum(after, b)));
      }
    }
  }
}

TEST_CASE("the leader sets no limit to its lease, learners do not count, both halves of a joint configuration do") {
  const Configuration three{{{{1}, {1}}, {{2}, {2}}, {{3}, {3}}}, {}, {{{4}, {4}}}};
  auto bound = [](NodeId node) -> Instant { return node.value * 100; };
  CHECK(lease_end(three, {1}, bound) == 300);
  CHECK(lease_end(three, {3}, bound) == 200);
  Configuration joint = three;
  joint.outgoing = {{{1}, {1}}, {{5}, {5}}, {{6}, {6}}};
  CHECK(lease_end(joint, {1}, [](NodeId node) -> Instant { return node.value >= 5 ? 50 : 100; }) == 50);
  const Configuration alone{{{{1}, {1}}}, {}, {}};
  CHECK(lease_end(alone, {1}, bound) == kNever);
}

TEST_CASE("the window counts messages and bytes until they are acknowledged") {
  InflightWindow window;
  CHECK(!window.full(10, 2));
  window.add({3}, 8);
  window.add({5}, 8);
  CHECK(window.full(100, 2));
  CHECK(window.full(16, 9));
  CHECK(window.room(20) == 4);
  window.acknowledge({4});
  CHECK((window.messages() == 1 && window.bytes() == 8));
  window.acknowledge({9});
  CHECK(window.empty());
}

TEST_CASE("reads are released by the round that began after them, in order of arrival") {
  ReadQueue queue;
  std::vector<uint64_t> out;
  auto release = [&](const ReadQueue::Waiting& read) { out.push_back(read.id); };
  queue.add(1, {5});
  queue.begin(1);
  queue.add(2, {5});
  CHECK((queue.round_under_way() && queue.has_unassigned()));
  queue.release(9, release);
  CHECK(out == std::vector<uint64_t>{1});
  CHECK(!queue.round_under_way());
  queue.begin(2);
  queue.release(1, release);
  CHECK(out.size() == 1);
  queue.release(2, release);
  CHECK(out == std::vector<uint64_t>{1, 2});
}

TEST_CASE("the log view finds the last position whose term is small enough") {
  SeededRandom random(4);
  for (int round = 0; round < 500; ++round) {
    raft::LogView log({random.below(5)}, {1});
    Term term{1};
    const uint64_t count = random.below(12);
    for (uint64_t i = 0; i < count; ++i) {
      term.value += random.below(3);
      log.append({log.last_index().next(), term, EntryType::kData, 0, SharedBytes("ab")});
    }
    CHECK(log.bytes() == 2 * count);
    const LogIndex index{random.below(20)};
    const Term limit{1 + random.below(10)};
    LogIndex expected = log.start_index();
    for (LogIndex i = log.first_index(); i <= std::min(index, log.last_index()); i = i.next()) {
      if (log.at(i).term <= limit) expected = i;
    }
    REQUIRE(log.last_at_most(index, limit) == expected);
    if (count > 3) {
      // Of the two oldest entries one may go; places and terms stay.
      raft::LogView released = log;
      released.release({log.start_index().value + 1}, 0);
      CHECK((released.held_from() == LogIndex{log.start_index().value + 2} && released.bytes() == 2 * (count - 1)));
      released.release(log.last_index(), 4);
      CHECK((released.held_from() == LogIndex{log.last_index().value - 1} && released.bytes() == 4));
      CHECK((released.first_index() == log.first_index() && released.last_index() == log.last_index()));
      CHECK(released.last_at_most(index, limit) == expected);
      released.compact_to({log.start_index().value + 1});
      CHECK((released.held_from() == LogIndex{log.last_index().value - 1} && released.bytes() == 4));
      released.compact_to(log.last_index());
      CHECK((released.held_from() == log.last_index().next() && released.bytes() == 0));
    }
    if (count > 2) {
      const Term at = *log.term_at({log.start_index().value + 2});
      log.compact_to({log.start_index().value + 2});
      CHECK((log.start_term() == at && log.bytes() == 2 * (count - 2)));
      CHECK(!log.term_at(log.start_index().prev()));
      log.truncate_from(log.first_index());
      CHECK((log.bytes() == 0 && log.last_term() == at));
    }
  }
}
