// What scripts cannot show: recovery from damaged state, foreign nonsense in bulk, and the cost of the hot
// path.
#include <catch2/catch.hpp>
#include <chrono>

#include "cluster.h"

using namespace cairn;
using namespace cairn::consensus;
using namespace cairn::consensus::test;

namespace {

Configuration voters(uint64_t count) {
  Configuration c;
  for (uint64_t id = 1; id <= count; ++id) c.voters.push_back({{id}, {id * 10}});
  return c;
}

std::unique_ptr<ReplicatedLog> make(RecoveredState state, const Links& links, SeededRandom& random) {
  return make_raft({1}, {10}, {1}, RaftOptions{}, links, random, 0, std::move(state));
}

// A leader of three with everything committed and applied.
void lead(ReplicatedLog& core, Output& out) {
  core.step(1, Campaign{}, out);
  core.step(1, Received{{2}, VoteReply{{1}, true, true}}, out);
  core.step(1, Received{{2}, VoteReply{{1}, false, true}}, out);
  core.step(1, StorageDone{out.writes_up_to}, out);
  AppendReply ok;
  ok.term = {1};
  ok.ok = true;
  ok.match = {1};
  core.step(2, Received{{2}, ok}, out);
  core.step(2, Received{{3}, ok}, out);
  core.step(2, StorageDone{out.writes_up_to}, out);
  core.step(2, Applied{{1}}, out);
  out.clear();
  REQUIRE(core.may_propose());
}

}  // namespace

TEST_CASE("a recovered replica hands out what is committed and not applied, at once") {
  Links links;
  SeededRandom random(1);
  RecoveredState state;
  state.start_configuration = voters(3);
  state.hard_state = {{2}, {1}, {1}, {3}};
  for (uint64_t i = 1; i <= 4; ++i) state.entries.push_back({{i}, {2}, EntryType::kData, i, SharedBytes("x")});
  state.applied = {1};
  auto core = make(state, links, random);
  CHECK(core->next_deadline() == 0);
  Output out;
  core->step(0, TimeReached{}, out);
  REQUIRE(out.committed.size() == 2);
  CHECK((out.committed[0].index.value == 2 && out.committed[1].index.value == 3));
  CHECK(core->next_deadline() > 0);
}

TEST_CASE("a recovered log with a hole, a bad configuration or less than it applied is suspect and stays passive") {
  Links links;
  SeededRandom random(1);
  RecoveredState hole;
  hole.start_configuration = voters(1);
  hole.hard_state = {{2}, {}, {}, {}};
  hole.entries = {{{1}, {1}, EntryType::kNoOp, 0, {}}, {{3}, {1}, EntryType::kNoOp, 0, {}}};
  RecoveredState configuration = hole;
  configuration.entries = {{{1}, {1}, EntryType::kConfiguration, 0, SharedBytes("junk")}};
  RecoveredState applied = hole;
  applied.entries.clear();
  applied.applied = {7};
  RecoveredState term = hole;
  term.entries = {{{1}, {5}, EntryType::kNoOp, 0, {}}};
  for (const RecoveredState& state : {hole, configuration, applied, term}) {
    auto core = make(state, links, random);
    CHECK(core->status().suspect);
    CHECK(core->next_deadline() == kNever);
    Output out;
    core->step(0, Campaign{}, out);
    core->step(0, Received{{2}, VoteRequest{{9}, {9}, {9}, {1}, false, false}}, out);
    CHECK(out.send_after.empty());
    CHECK(core->role() == Role::kFollower);
  }
}

TEST_CASE("a snapshot's mark that outlived the term it came with is no damage: the term follows, without a vote") {
  SeededRandom random(1);
  Links links;
  RecoveredState state;
  state.hard_state = {Term{5}, NodeId{2}, Incarnation{1}, LogIndex{17}};
  state.start_index = LogIndex{18};
  state.start_term = Term{6};
  state.start_configuration.voters = {{{1}, {10}}, {{2}, {20}}, {{3}, {30}}};
  state.applied = LogIndex{18};
  const auto core = make(state, links, random);
  CHECK(!core->status().suspect);
  CHECK(core->term() == Term{6});
  CHECK(core->commit_index() == LogIndex{18});
  // Asked in that term it is free to vote, as it has voted for nobody.
  Output out;
  core->step(10 * kSecond,
             Received{NodeId{3}, VoteRequest{Term{6}, LogIndex{18}, Term{6}, Incarnation{1}, false, false}}, out);
  REQUIRE(out.send_after.size() == 1);
  CHECK(std::get<VoteReply>(out.send_after[0].envelope.message).granted);
}

TEST_CASE("a full pipeline whose answers were lost ends in a snapshot once the log begins behind it") {
  Links links;
  SeededRandom random(1);
  RecoveredState state;
  state.start_configuration = voters(3);
  RaftOptions options;
  options.inflight_messages_max = 1;
  auto core = make_raft({1}, {10}, {1}, options, links, random, 0, std::move(state));
  Output out;
  lead(*core, out);
  for (uint64_t index = 2; index <= 5; ++index) {
    core->step(3, Propose{{EntryType::kData, 0, SharedBytes("x")}}, out);
    core->step(3, StorageDone{out.writes_up_to}, out);
    AppendReply ok;
    ok.term = {1};
    ok.ok = true;
    ok.match = {index};
    core->step(3, Received{{3}, ok}, out);
    core->step(3, Applied{{index}}, out);
  }
  core->step(3, Compact{{4}}, out);
  REQUIRE(core->first_index() == LogIndex{5});
  REQUIRE(out.need_snapshot.empty());
  AppendReply refusal;  // of an empty append after entry 4
  refusal.term = {1};
  refusal.hint_index = {2};
  refusal.hint_term = {1};
  core->step(4, Received{{2}, refusal}, out);
  REQUIRE(out.need_snapshot.size() == 1);
  CHECK(out.need_snapshot[0].peer == NodeId{2});
}

TEST_CASE("no sequence of arbitrary inputs breaks a core") {
  Links links;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SeededRandom random(seed), chance(seed + 77);
    links.peers.clear();
    RecoveredState state;
    state.start_configuration = voters(1 + random.below(3));
    auto core = make(state, links, chance);
    Output out;
    Instant now = 0;
    auto small = [&] { return random.below(8); };
    auto wild = [&]() -> uint64_t { return random.below(20) == 0 ? random.next() : random.below(12); };
    for (int i = 0; i < 400; ++i) {
      now += random.below(100 * kMillisecond);
      const NodeId peer{random.below(5)};
      Input input;
      switch (random.below(19)) {
        case 0: input = TimeReached{}; break;
        case 1:
          input = Received{
              peer, VoteRequest{{small()}, {wild()}, {wild()}, {small()}, random.below(2) == 0, random.below(2) == 0}};
          break;
        case 2:
        case 3: input = Received{peer, VoteReply{{small()}, random.below(2) == 0, random.below(2) == 0}}; break;
        case 4:
        case 5: {
          AppendRequest m{{small()}, {wild()}, {small()}, {wild()}, wild(), {}};
          const uint64_t count = random.below(4);
          for (uint64_t k = 0; k < count; ++k) {
            const bool odd = random.below(10) == 0;
            const auto type = static_cast<EntryType>(random.below(3));
            m.entries.push_back(
                {{odd ? wild() : m.prev_index.value + k + 1},
                 {small()},
                 type,
                 wild(),
                 SharedBytes(type == EntryType::kConfiguration ? voters(1 + random.below(4)).encode() : "p")});
          }
          input = Received{peer, m};
          break;
        }
        case 6:
        case 7:
          input = Received{
              peer, AppendReply{
                        {small()}, random.below(2) == 0, {wild()}, {wild()}, {small()}, wild(), {small()}, {small()}}};
          break;
        case 8: input = Received{peer, TimeoutNow{{small()}}}; break;
        case 9: input = Propose{{EntryType::kData, wild(), SharedBytes("x")}}; break;
        case 10: input = StorageDone{{random.below(4) == 0 ? wild() : out.writes_up_to.value}}; break;
        case 11: input = Applied{{random.below(2) == 0 ? wild() : core->commit_index().value}}; break;
        case 12: input = Compact{{wild()}}; break;
        case 13: input = Read{wild()}; break;
        case 14: input = ChangeConfig{voters(1 + random.below(4)).voters, {}}; break;
        case 15: input = Transfer{peer}; break;
        case 16: input = SnapshotSent{peer, random.below(2) == 0, {wild()}}; break;
        case 17:
          links.peers[peer] = {{small()}, {small()}, {small()}, now + small(), random.below(2) == 0};
          input = LivenessChanged{peer};
          break;
        default:
          if (random.below(4) == 0) {
            input = SnapshotInstalled{
                {random.below(30)}, {small()}, random.below(5) == 0 ? "junk" : voters(2).encode(), small()};
          } else {
            input = Campaign{};
          }
      }
      const LogIndex commit = core->commit_index();
      const Term term = core->term();
      out.clear();
      core->step(now, input, out);
      REQUIRE(core->commit_index() >= commit);
      REQUIRE(core->term() >= term);
      REQUIRE(core->commit_index() <= core->last_index());
    }
  }
}

TEST_CASE("a proposal costs about a microsecond", "[.bench]") {
  Links links;
  links.peers[{2}] = {{1}, {1}, {1}, kNever, true};
  links.peers[{3}] = {{1}, {1}, {1}, kNever, true};
  SeededRandom random(1);
  RecoveredState state;
  state.start_configuration = voters(3);
  auto core = make(state, links, random);
  Output out;
  lead(*core, out);
  const SharedBytes payload(std::string(64, 'x'));
  const int rounds = 200000;
  std::chrono::nanoseconds proposing{0}, acknowledging{0}, serving{0};
  bool served = true;
  for (int i = 0; i < rounds; ++i) {
    out.clear();
    const auto a = std::chrono::steady_clock::now();
    core->step(3, Propose{{EntryType::kData, 0, payload}}, out);
    const auto b = std::chrono::steady_clock::now();
    proposing += b - a;
    const LogIndex index = out.proposed->index;
    AppendReply ok;
    ok.term = {1};
    ok.ok = true;
    ok.match = index;
    ok.incarnation = {1};
    ok.support_epoch = {1};
    const Input first = Received{{2}, ok}, second = Received{{3}, ok};
    const Input done = StorageDone{out.writes_up_to}, applied = Applied{index}, compact = Compact{index.prev()};
    out.clear();
    const auto c = std::chrono::steady_clock::now();
    core->step(3, first, out);
    core->step(3, done, out);
    core->step(3, second, out);
    core->step(3, applied, out);
    const auto d = std::chrono::steady_clock::now();
    served = core->may_serve(3) && served;
    const auto e = std::chrono::steady_clock::now();
    acknowledging += d - c;
    serving += e - d;
    if (i % 1000 == 0) core->step(3, compact, out);
  }
  CHECK(served);
  WARN("step(Propose) " << proposing.count() / rounds << " ns, commit (4 steps) " << acknowledging.count() / rounds
                        << " ns, may_serve " << serving.count() / rounds << " ns (each with one clock read)");
}
