// Runs the scripts of test/data/raft: commands, four dashes, what the cores answered. CAIRN_REWRITE=1 writes
// the answers into the files; the diff is then what a reviewer judges.
//
//   new 1 2 3 [learners=4] [spare=5] [boot_silence=MS] [inflight=N] [message_bytes=N] [notice=MS] [lag=N]
//   campaign N | propose N TEXT | read N ID | transfer N TO | suspect N | damage N | compact N INDEX | liveness N OTHER
//   change N voters=1,2,3 [learners=4]       | snapshot FROM->TO | snapshot-failed FROM->TO
//   sync N [WRITES] | apply N | stop N | start N | advance MS
//   net | deliver [A->B] | drop [A->B] | duplicate A->B | cut N | heal N
//   support A->B EPOCH UNTIL_MS | withdraw A->B | expire A->B (B's range loop hears that A's support is gone)
//   | reach A->B yes|no settle (deliver, sync and apply until nothing moves; events only) | elect N
//   (campaign, then settle) raw A->B vote TERM LOG_TERM INDEX INCARNATION [pre] [transfer] | raw A->B append
//   TERM PREV_TERM PREV COMMIT [T/TEXT..] raw A->B ok TERM MATCH | raw A->B refused TERM HINT_TERM HINT | raw
//   A->B timeout-now TERM status [N] | log N | lease N | deadline N
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cluster.h"

using namespace cairn;
using namespace cairn::consensus;
using namespace cairn::consensus::test;

namespace {

using Words = std::vector<std::string>;

class Script final : public Cluster {
 public:
  Script() : Cluster(1) { options.commit_notice_delay = 0; }

  std::string run(const std::string& line) {
    text_.clear();
    std::istringstream in(line);
    Words words;
    for (std::string word; in >> word;) words.push_back(word);
    command(words);
    return text_;
  }
  bool connected(NodeId a, NodeId b) override { return !cut_.contains(a) && !cut_.contains(b); }

  void observe(Node& n, const Output& out) override {
    const std::string who = std::to_string(n.id.value);
    for (const Event& event : out.events) say(who + ": " + describe(event));
    if (out.proposed) {
      say(out.proposed->accepted ? who + " proposed " + std::to_string(out.proposed->term.value) + "/" +
                                       std::to_string(out.proposed->index.value)
                                 : who + " refused the proposal");
    }
    if (verbose_) {
      for (const LogOp& op : out.writes) say("  " + who + " writes " + written(op));
      for (const Envelope& e : out.send_now) say("  " + arrow(n.id, e.to) + " " + describe(e.message));
      for (const GatedMessage& g : out.send_after) {
        say("  " + arrow(n.id, g.envelope.to) + " " + describe(g.envelope.message) + " (after write " +
            std::to_string(g.gate.value) + ")");
      }
    }
    if (!out.committed.empty()) {
      std::string list;
      for (const Entry& entry : out.committed) list += (list.empty() ? "" : ", ") + describe(entry);
      say(who + " commits " + list);
    }
    for (const ReadReady& read : out.reads) {
      say(who + " read " + std::to_string(read.id) +
          (read.ok ? " at index " + std::to_string(read.index.value) : " failed"));
    }
    for (const NeedSnapshot& need : out.need_snapshot) {
      say(who + " needs a snapshot for " + std::to_string(need.peer.value) + " replica " +
          std::to_string(need.replica.value));
    }
  }

 private:
  void say(const std::string& line) { text_ += line + "\n"; }
  static std::string arrow(NodeId a, NodeId b) { return std::to_string(a.value) + "->" + std::to_string(b.value); }
  static std::string written(const LogOp& op) {
    if (const auto* m = std::get_if<AppendOp>(&op)) return describe(m->entry);
    if (const auto* m = std::get_if<HardStateOp>(&op)) {
      return "term " + std::to_string(m->state.term.value) + " vote " + std::to_string(m->state.voted_for.value) +
             " commit " + std::to_string(m->state.commit.value) + (m->urgent ? "" : " (lazy)");
    }
    const auto& m = std::get<CompactOp>(op);
    return "compaction to " + std::to_string(m.term.value) + "/" + std::to_string(m.index.value) + " " +
           describe(*Configuration::decode(m.configuration));
  }
  static uint64_t number(const std::string& word) { return std::strtoull(word.c_str(), nullptr, 10); }
  static std::pair<NodeId, NodeId> pair(const std::string& word) {
    const size_t at = word.find("->");
    return {{number(word.substr(0, at))}, {number(word.substr(at + 2))}};
  }
  static std::vector<Member> list(const std::string& text) {
    std::vector<Member> members;
    std::istringstream in(text);
    for (std::string word; std::getline(in, word, ',');) members.push_back({{number(word)}, {number(word) * 10}});
    return members;
  }
  static std::string option(const Words& words, const std::string& name, const std::string& otherwise) {
    for (const std::string& word : words) {
      if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
    }
    return otherwise;
  }

  void create(const Words& w) {
    options.boot_silence = number(option(w, "boot_silence", "0")) * kMillisecond;
    options.inflight_messages_max = static_cast<uint32_t>(number(option(w, "inflight", "256")));
    options.inflight_bytes_max = number(option(w, "inflight_bytes", "4194304"));
    options.held_bytes_max = number(option(w, "held_bytes", "1048576"));
    options.message_bytes_max = number(option(w, "message_bytes", "262144"));
    options.uncommitted_bytes_max = number(option(w, "uncommitted", "67108864"));
    options.transfer_lag_max = static_cast<uint32_t>(number(option(w, "lag", "128")));
    options.commit_notice_delay = number(option(w, "notice", "0")) * kMillisecond;
    Configuration start;
    std::vector<NodeId> ids;
    for (size_t i = 1; i < w.size() && w[i].find('=') == std::string::npos; ++i) {
      start.voters.push_back({{number(w[i])}, {number(w[i]) * 10}});
      ids.push_back({number(w[i])});
    }
    start.learners = list(option(w, "learners", ""));
    for (const Member& m : start.learners) ids.push_back(m.node);
    for (const Member& m : list(option(w, "spare", ""))) {
      ids.push_back(m.node);
      add(m.node, {});
    }
    for (const NodeId id : ids) {
      if (!nodes.contains(id)) add(id, start);
      for (const NodeId other : ids) {
        if (other != id) node(id).links.peers[other] = {{1}, {}, {}, 0, true};
      }
    }
  }

  bool matches(const Packet& packet, const Words& w) const {
    return w.size() < 2 || w[1] == arrow(packet.from, packet.to) || w[1] == "->" + std::to_string(packet.to.value) ||
           w[1] == std::to_string(packet.from.value) + "->";
  }
  void deliver_all(const Words& w) {
    std::vector<Packet> chosen, rest;
    for (Packet& packet : network) (matches(packet, w) ? chosen : rest).push_back(std::move(packet));
    network = std::move(rest);
    for (const Packet& packet : chosen) {
      if (verbose_) say(arrow(packet.from, packet.to) + " delivers " + describe(packet.message));
      deliver(packet);
    }
  }
  void settle() {
    verbose_ = false;
    for (int round = 0; round < 200; ++round) {
      bool moved = !network.empty();
      deliver_all({"deliver"});
      for (auto& [id, n] : nodes) {
        if (!n->running) continue;
        if (!n->pending.empty() || n->applied < n->handed) moved = true;
        sync(id);
        apply(id);
      }
      if (!moved) break;
    }
    verbose_ = true;
  }
  void liveness_of(NodeId at, NodeId about) { step(at, LivenessChanged{about}); }
  void start_again(NodeId id) {
    start(id);
    for (auto& [other, n] : nodes) {
      if (other == id) continue;
      PeerLiveness& seen = n->links.peers[id];
      if (n->running) seen = {node(id).incarnation, {}, {}, 0, true};  // a new life: nothing of the old one binds
      node(id).links.peers[other] = {n->incarnation, {}, {}, 0, n->running};
    }
    for (auto& [other, n] : nodes) {
      if (other != id) liveness_of(other, id);
    }
  }
  void raw(const Words& w) {
    const auto [from, to] = pair(w[1]);
    const std::string& kind = w[2];
    const auto at = [&](size_t i) { return i < w.size() ? number(w[i]) : 0; };
    const auto has = [&](const char* name) { return std::find(w.begin(), w.end(), name) != w.end(); };
    Message message;
    if (kind == "vote") {
      message = VoteRequest{{at(3)}, {at(5)}, {at(4)}, {at(6)}, has("pre"), has("transfer")};
    } else if (kind == "append") {
      AppendRequest m;
      m.term = {at(3)};
      m.prev_term = {at(4)};
      m.prev_index = {at(5)};
      m.commit = {at(6)};
      for (size_t i = 7; i < w.size(); ++i) {
        const size_t slash = w[i].find('/');
        m.entries.push_back({{at(5) + i - 6},
                             {number(w[i].substr(0, slash))},
                             EntryType::kData,
                             0,
                             SharedBytes(w[i].substr(slash + 1))});
      }
      message = m;
    } else if (kind == "ok" || kind == "refused") {
      AppendReply m;
      m.term = {at(3)};
      m.ok = kind == "ok";
      if (m.ok) m.match = {at(4)};
      if (!m.ok) m.hint_term = {at(4)}, m.hint_index = {at(5)};
      m.incarnation = nodes.contains(from) ? node(from).incarnation : Incarnation{1};
      message = m;
    } else {
      message = TimeoutNow{{at(3)}};
    }
    step(to, Received{from, message});
  }
  void status(const Words& w) {
    for (auto& [id, n] : nodes) {
      if (w.size() > 1 && number(w[1]) != id.value) continue;
      if (!n->running) {
        say(std::to_string(id.value) + " is down");
        continue;
      }
      const Status s = n->core->status();
      std::string line = std::to_string(id.value) + " " + std::string(to_string(s.role)) + " term " +
                         std::to_string(s.term.value) + " leader " + std::to_string(s.leader.value) + " log " +
                         std::to_string(s.first_index.value) + ".." + std::to_string(s.last_index.value) + " commit " +
                         std::to_string(s.commit.value) + " applied " + std::to_string(s.applied.value) + " " +
                         describe(s.configuration);
      if (s.suspect) line += " suspect";
      if (s.damaged) line += " damaged";
      if (s.transferring_to.value > 0) line += " handing over to " + std::to_string(s.transferring_to.value);
      say(line);
      for (const PeerStatus& p : s.peers) {
        say("  peer " + std::to_string(p.member.node.value) + " match " + std::to_string(p.match.value) + " next " +
            std::to_string(p.next.value) + (p.voter ? "" : " no vote") + (p.snapshotting ? " snapshot" : ""));
      }
    }
  }

  void command(const Words& w) {
    const std::string& name = w[0];
    const auto id = [&](size_t i) { return NodeId{number(w.at(i))}; };
    if (name == "new") return create(w);
    if (name == "status") return status(w);
    if (name == "settle") return settle();
    if (name == "raw") return raw(w);
    if (name == "campaign") return step(id(1), Campaign{});
    if (name == "elect") {
      verbose_ = false;
      step(id(1), Campaign{});
      return settle();
    }
    if (name == "propose") {
      Propose input;
      input.proposal.payload = SharedBytes(w.at(2));
      if (w.size() > 3) input.proposal.time_ms = number(w[3]);
      return step(id(1), input);
    }
    if (name == "read") return step(id(1), Read{number(w.at(2))});
    if (name == "transfer") return step(id(1), Transfer{id(2)});
    if (name == "suspect") return step(id(1), Suspect{});
    if (name == "damage") return step(id(1), Damaged{});
    if (name == "compact") return step(id(1), Compact{{number(w.at(2))}});
    if (name == "liveness") return liveness_of(id(1), id(2));
    if (name == "change")
      return step(id(1), ChangeConfig{list(option(w, "voters", "")), list(option(w, "learners", ""))});
    if (name == "snapshot") {
      const auto [from, to] = pair(w[1]);
      return say(snapshot(from, to) ? "installed" : "not installed");
    }
    if (name == "snapshot-failed") {
      const auto [from, to] = pair(w[1]);
      return step(from, SnapshotSent{to, false, {}});
    }
    if (name == "sync") return sync(id(1), w.size() > 2 ? number(w[2]) : ~size_t{0});
    if (name == "apply") return apply(id(1));
    if (name == "stop") return stop(id(1));
    if (name == "start") return start_again(id(1));
    if (name == "advance") {
      now += number(w.at(1)) * kMillisecond;
      for (auto& [node_id, n] : nodes) {
        if (n->running && n->core->next_deadline() <= now) step(node_id, TimeReached{});
      }
      return;
    }
    if (name == "net") {
      for (const Packet& packet : network) say(arrow(packet.from, packet.to) + " " + describe(packet.message));
      return;
    }
    if (name == "deliver") return deliver_all(w);
    if (name == "drop") {
      std::erase_if(network, [&](const Packet& packet) { return matches(packet, w); });
      return;
    }
    if (name == "duplicate") {
      const std::vector<Packet> copy = network;
      for (const Packet& packet : copy) {
        if (matches(packet, w)) network.push_back(packet);
      }
      return;
    }
    if (name == "cut") return void(cut_.insert(id(1)));
    if (name == "heal") return void(cut_.erase(id(1)));
    if (name == "support") {
      const auto [a, b] = pair(w[1]);
      node(a).links.peers[b].granted = {number(w.at(2))};
      PeerLiveness& held = node(b).links.peers[a];
      held.held = {number(w.at(2))};
      held.held_until = number(w.at(3)) * kMillisecond;
      liveness_of(a, b);
      return liveness_of(b, a);
    }
    if (name == "withdraw") {
      const auto [a, b] = pair(w[1]);
      node(a).links.peers[b].granted = {};
      return liveness_of(a, b);
    }
    if (name == "expire") {
      const auto [a, b] = pair(w[1]);
      node(b).links.peers[a].held = {};
      return liveness_of(b, a);
    }
    if (name == "reach") {
      const auto [a, b] = pair(w[1]);
      node(a).links.peers[b].reachable = w.at(2) == "yes";
      return liveness_of(a, b);
    }
    if (name == "log") {
      const LogImage& log = node(id(1)).written;
      std::string line = "after " + std::to_string(log.start_index.value);
      for (const Entry& entry : log.entries) line += (line.empty() ? "" : ", ") + describe(entry);
      return say(line);
    }
    if (name == "lease") return say(node(id(1)).core->may_serve(now) ? "may serve" : "may not serve");
    if (name == "deadline") {
      const Instant at = node(id(1)).core->next_deadline();
      if (at == kNever) return say("none");
      return say("in " + std::to_string((at - std::min(at, now)) / kMillisecond) + " ms");
    }
    say("unknown command " + name);
  }

  std::string text_;
  bool verbose_ = true;
  std::set<NodeId> cut_;
};

std::string play(const std::string& input) {
  Script script;
  std::istringstream in(input);
  std::string output, block;
  bool skipping = false;  // inside the old answer
  for (std::string line; std::getline(in, line);) {
    if (skipping) {
      if (line.empty()) {
        skipping = false;
        output += "\n";
      }
      continue;
    }
    output += line + "\n";
    if (line == "----") {
      std::istringstream commands(block);
      std::string answer;
      for (std::string command; std::getline(commands, command);) answer += script.run(command);
      output += answer.empty() ? "ok\n" : answer;
      block.clear();
      skipping = true;
    } else if (!line.empty() && line[0] != '#') {
      block += line + "\n";
    }
  }
  return output;
}

}  // namespace

TEST_CASE("the scripts of test/data/raft play as written") {
  const bool rewrite = std::getenv("CAIRN_REWRITE") != nullptr;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(CAIRN_TEST_DATA) + "/raft")) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  CHECK(files.size() >= 30);
  for (const auto& file : files) {
    INFO(file.string());
    std::stringstream content;
    content << std::ifstream(file).rdbuf();
    const std::string played = play(content.str());
    CHECK(played.find("unknown command") == std::string::npos);
    if (rewrite) {
      std::ofstream(file) << played;
    } else {
      CHECK(played == content.str());
    }
  }
}
