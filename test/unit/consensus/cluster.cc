#include "cluster.h"

#include <algorithm>

#include "base/assert.h"

namespace cairn::consensus::test {

void LogImage::apply(const LogOp& op) {
  if (const auto* append = std::get_if<AppendOp>(&op)) {
    CAIRN_ASSERT(append->entry.index > start_index && append->entry.index <= last_index().next());
    entries.resize(append->entry.index.value - start_index.value - 1);
    entries.push_back(append->entry);
  } else if (const auto* state = std::get_if<HardStateOp>(&op)) {
    hard = state->state;
  } else if (const auto* compact = std::get_if<CompactOp>(&op)) {
    const Entry* last = find(compact->index);
    if (last != nullptr && last->term == compact->term) {
      entries.erase(entries.begin(), entries.begin() + static_cast<long>(compact->index.value - start_index.value));
    } else if (!(compact->index == start_index && compact->term == start_term)) {
      entries.clear();
    }
    start_index = compact->index;
    start_term = compact->term;
    start_configuration = compact->configuration;
  }
}

const Entry* LogImage::find(LogIndex index) const {
  if (index <= start_index || index > last_index()) return nullptr;
  return &entries[index.value - start_index.value - 1];
}

void Cluster::boot(Node& node, LogIndex applied) {
  RecoveredState state;
  state.hard_state = node.durable.hard;
  state.start_index = node.durable.start_index;
  state.start_term = node.durable.start_term;
  state.start_configuration = *Configuration::decode(node.durable.start_configuration);
  state.entries = node.durable.entries;
  state.applied = applied;
  state.suspect = node.suspect;
  if (!node.machine.empty()) state.time_ms = node.machine.back().time_ms;
  node.random = std::make_unique<SeededRandom>(seed_ * 1000003 + node.id.value * 101 + node.incarnation.value);
  node.written = node.durable;
  node.pending.clear();
  node.gated.clear();
  node.durable_seq = {};
  node.core = make_raft(node.id, {node.id.value * 10}, node.incarnation, options, node.links, *node.random, now, state);
}

void Cluster::add(NodeId id, const Configuration& start) {
  auto made = std::make_unique<Node>();
  made->id = id;
  made->durable.start_configuration = start.encode();
  Node& added = *made;
  nodes[id] = std::move(made);
  boot(added, {});
}

void Cluster::post(Node& from, const Envelope& envelope) {
  if (!connected(from.id, envelope.to)) return;
  network.push_back({from.id, envelope.to, from.incarnation, envelope.message});
}

void Cluster::step(NodeId id, const Input& input) {
  Node& n = node(id);
  if (!n.running) return;
  Output& out = output_;
  out.clear();
  n.core->step(now, input, out);
  observe(n, out);
  for (const LogOp& op : out.writes) {
    n.written.apply(op);
    n.pending.push_back(op);
  }
  CAIRN_ASSERT(n.durable_seq.value + n.pending.size() == out.writes_up_to.value);
  for (const Envelope& envelope : out.send_now) post(n, envelope);
  for (const GatedMessage& gated : out.send_after) {
    if (gated.gate <= n.durable_seq) {
      post(n, gated.envelope);
    } else {
      n.gated.push_back(gated);
    }
  }
  for (const Entry& entry : out.committed) {
    CAIRN_ASSERT(entry.index == n.handed.next());
    n.machine.push_back(entry);
    n.handed = entry.index;
  }
}

void Cluster::sync(NodeId id, size_t writes) {
  Node& n = node(id);
  if (!n.running || n.pending.empty()) return;
  for (; writes > 0 && !n.pending.empty(); --writes) {
    n.durable.apply(n.pending.front());
    n.pending.pop_front();
    n.durable_seq = n.durable_seq.next();
  }
  std::vector<GatedMessage> held;
  for (GatedMessage& gated : n.gated) {
    if (gated.gate <= n.durable_seq) {
      post(n, gated.envelope);
    } else {
      held.push_back(std::move(gated));
    }
  }
  n.gated = std::move(held);
  step(id, StorageDone{n.durable_seq});
}

void Cluster::apply(NodeId id) {
  Node& n = node(id);
  if (!n.running || n.applied >= n.handed) return;
  n.applied = n.handed;
  step(id, Applied{n.applied});
}

void Cluster::stop(NodeId id) {
  Node& n = node(id);
  n.running = false;
  n.core.reset();
  n.pending.clear();
  n.gated.clear();
}

void Cluster::start(NodeId id) {
  Node& n = node(id);
  n.running = true;
  n.incarnation = n.incarnation.next();
  // The state machine is flushed only behind the local log: what is applied beyond it was in memory.
  n.applied = std::min(n.applied, n.durable.last_index());
  while (!n.machine.empty() && n.machine.back().index > n.applied) n.machine.pop_back();
  n.handed = n.applied;
  boot(n, n.applied);
}

void Cluster::deliver(const Packet& packet) {
  if (!nodes.contains(packet.to) || !node(packet.to).running || !connected(packet.from, packet.to)) return;
  step(packet.to, Received{packet.from, packet.message});
}

bool Cluster::snapshot(NodeId from, NodeId to) {
  Node& source = node(from);
  Node& target = node(to);
  if (!source.running || !target.running) {
    step(from, SnapshotSent{to, false, {}});
    return false;
  }
  const LogIndex index = source.applied;
  SnapshotInstalled installed;
  installed.index = index;
  Configuration configuration = *Configuration::decode(source.written.start_configuration);
  installed.term = source.written.start_term;
  for (const Entry& entry : source.written.entries) {
    if (entry.index > index) break;
    installed.term = entry.term;
    if (entry.type == EntryType::kConfiguration) configuration = *Configuration::decode(entry.payload.view());
  }
  installed.configuration = configuration.encode();
  if (!source.machine.empty())
    for (const Entry& entry : source.machine) {
      if (entry.index <= index) installed.time_ms = entry.time_ms;
    }
  const LogIndex commit = target.core->commit_index();
  const bool newer = index > commit || (target.core->damaged() && index == commit);
  if (newer) {
    target.machine.clear();
    for (const Entry& entry : source.machine) {
      if (entry.index <= index) target.machine.push_back(entry);
    }
    target.handed = target.applied = index;
  }
  step(to, installed);
  sync(to);  // the record in the log decides whether a snapshot is installed; before it a crash would bring
             // back the old state
  step(from, SnapshotSent{to, newer, index});
  return newer;
}

// ---- text ----

namespace {
std::string position(Term term, LogIndex index) {
  return std::to_string(term.value) + "/" + std::to_string(index.value);
}
std::string members(const std::vector<Member>& list) {
  std::string text;
  for (const Member& member : list) text += (text.empty() ? "" : " ") + std::to_string(member.node.value);
  return "(" + text + ")";
}
}  // namespace

std::string describe(const Configuration& configuration) {
  std::string text = "voters" + members(configuration.voters);
  if (configuration.joint()) text += " outgoing" + members(configuration.outgoing);
  if (!configuration.learners.empty()) text += " learners" + members(configuration.learners);
  return text;
}

std::string describe(const Entry& entry) {
  std::string text = position(entry.term, entry.index);
  if (entry.type == EntryType::kNoOp) return text + " no-op";
  if (entry.type == EntryType::kConfiguration)
    return text + " " + describe(*Configuration::decode(entry.payload.view()));
  return text + " '" +
         (entry.payload.size() > 24 ? std::to_string(entry.payload.size()) + " bytes"
                                    : std::string(entry.payload.view())) +
         "'";
}

std::string describe(const Message& message) {
  std::string text;
  if (const auto* m = std::get_if<VoteRequest>(&message)) {
    text = std::string(m->pre ? "pre-vote?" : "vote?") + " term " + std::to_string(m->term.value) + " log " +
           position(m->last_term, m->last_index) + (m->transfer ? " transfer" : "");
  } else if (const auto* m = std::get_if<VoteReply>(&message)) {
    text = std::string(m->pre ? "pre-vote " : "vote ") + (m->granted ? "granted" : "refused") + " term " +
           std::to_string(m->term.value);
  } else if (const auto* m = std::get_if<AppendRequest>(&message)) {
    text = "append term " + std::to_string(m->term.value) + " after " + position(m->prev_term, m->prev_index) +
           " commit " + std::to_string(m->commit.value);
    if (m->read_seq > 0) text += " round " + std::to_string(m->read_seq);
    if (!m->entries.empty()) text += " [";
    for (size_t i = 0; i < m->entries.size(); ++i) text += (i > 0 ? ", " : "") + describe(m->entries[i]);
    if (!m->entries.empty()) text += "]";
  } else if (const auto* m = std::get_if<AppendReply>(&message)) {
    text = std::string(m->ok ? "ok" : "refused") + " term " + std::to_string(m->term.value);
    if (m->ok) text += " match " + std::to_string(m->match.value);
    if (!m->ok) text += " hint " + position(m->hint_term, m->hint_index);
    if (m->read_seq > 0) text += " round " + std::to_string(m->read_seq);
    if (m->support_epoch.value > 0) text += " epoch " + std::to_string(m->support_epoch.value);
  } else if (const auto* m = std::get_if<TimeoutNow>(&message)) {
    text = "timeout-now term " + std::to_string(m->term.value);
  }
  return text;
}

std::string describe(const Event& event) {
  using Kind = Event::Kind;
  static const std::map<Kind, std::string> names = {{Kind::kBecameFollower, "became follower"},
                                                    {Kind::kBecamePreCandidate, "became pre-candidate"},
                                                    {Kind::kBecameCandidate, "became candidate"},
                                                    {Kind::kBecameLeader, "became leader"},
                                                    {Kind::kSteppedDown, "stepped down"},
                                                    {Kind::kVoteGranted, "granted a vote"},
                                                    {Kind::kVoteRefused, "refused a vote"},
                                                    {Kind::kConfigurationChanged, "configuration changed"},
                                                    {Kind::kLogTruncated, "dropped entries"},
                                                    {Kind::kSnapshotNeeded, "snapshot needed"},
                                                    {Kind::kTransferStarted, "transfer started"},
                                                    {Kind::kTransferFailed, "transfer failed"},
                                                    {Kind::kSuspect, "suspect"},
                                                    {Kind::kDamaged, "damaged"},
                                                    {Kind::kMended, "mended"}};
  std::string text = names.at(event.kind) + ", term " + std::to_string(event.term.value);
  if (event.node.value > 0) text += ", node " + std::to_string(event.node.value);
  if (event.index.value > 0) text += ", index " + std::to_string(event.index.value);
  if (!event.detail.empty()) text += ": " + event.detail;
  return text;
}

}  // namespace cairn::consensus::test
