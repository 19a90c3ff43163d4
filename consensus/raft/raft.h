// The Raft core. One class, one file per concern: raft.cc (inputs, storage, outputs), election.cc,
// replication.cc, follower.cc, membership.cc, read_index.cc, lease.cc. docs/consensus.md explains the rules;
// section numbers are those of the Raft paper (extended version) or, as "thesis", of Ongaro's dissertation.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "consensus/quorum.h"
#include "consensus/raft/log_view.h"
#include "consensus/raft/roles.h"
#include "consensus/replicated_log.h"

namespace cairn::consensus::raft {

class Raft final : public ReplicatedLog {
 public:
  Raft(NodeId self, ReplicaId replica, Incarnation incarnation, const RaftOptions& options,
       const LivenessView& liveness, Random& random, Instant now, RecoveredState recovered);

  void step(Instant now, const Input& input, Output& out) override;
  Instant next_deadline() const override;
  bool may_serve(Instant now) const override;
  bool may_propose() const override;
  Status status() const override;
  Role role() const override;
  Term term() const override { return hard_.term; }
  NodeId leader() const override;
  LogIndex commit_index() const override { return commit_; }
  bool suspect() const override { return suspect_; }
  bool damaged() const override { return damaged_; }
  LogIndex last_index() const override { return log_.last_index(); }
  LogIndex first_index() const override { return log_.first_index(); }
  LogIndex held_from() const override { return log_.held_from(); }
  uint64_t log_bytes() const override { return log_.bytes(); }
  const Configuration& configuration() const override { return configurations_.back().second; }
  Configuration configuration_at(LogIndex index) const override;

 private:
  // raft.cc
  template <class Op>
  void write(Op op);
  void save_hard_state(bool urgent);
  void release_log();
  void append_to_log(Entry entry);
  void truncate_log(LogIndex from);
  void on_storage_done(WriteSeq up_to);
  void on_time();
  void on_liveness(NodeId node);
  void on_received(NodeId from, const Message& message);
  void on_compact(LogIndex up_to);
  void on_suspect();
  void on_damaged();
  void mended();
  void lead_no_more(const char* reason);
  void on_snapshot_installed(const SnapshotInstalled& input);
  void advance_commit(LogIndex to);
  void finish_step();
  void send(NodeId to, Message message);
  void send_gated(NodeId to, Message message);
  void event(Event::Kind kind, NodeId node = {}, LogIndex index = {}, std::string detail = {});
  bool in_boot_silence() const { return now_ < silent_until_; }

  // election.cc
  Duration election_wait();
  bool may_campaign() const;
  bool follows_live_leader(NodeId asking) const;
  bool promise_holds() const;
  void become_follower(Term term, NodeId leader, std::string reason = {});
  void step_down(std::string reason);
  void campaign(bool transfer);
  void start_ballot(bool pre, bool transfer);
  void ask_promised();
  void check_ballots();
  void become_leader();
  void leader_lost();
  void hand_over();
  void send_handover();
  void on_vote_request(NodeId from, const VoteRequest& request);
  void on_vote_reply(NodeId from, const VoteReply& reply);
  void on_timeout_now(NodeId from, const TimeoutNow& message);
  void on_campaign();

  // replication.cc (leader)
  void on_propose(const Proposal& proposal);
  LogIndex append_own(EntryType type, uint64_t time_ms, SharedBytes payload);
  Progress* progress_of(NodeId node);
  void replicate(Progress& peer);
  void broadcast();
  void send_entries(Progress& peer);
  void send_empty(Progress& peer);
  void send_round(Progress& peer);
  void ask_snapshot(Progress& peer);
  void arm_retry(Progress& peer);
  void retry(Progress& peer);
  void on_append_reply(NodeId from, const AppendReply& reply);
  void on_snapshot_sent(const SnapshotSent& input);
  void maybe_commit();
  void schedule_notice();
  void send_notices_if_quiet();
  void send_notices();
  void check_quorum_reachable();
  void on_transfer(NodeId to);
  void maybe_send_timeout_now();

  // follower.cc
  void on_append_request(NodeId from, const AppendRequest& request);
  void accept_leader(NodeId from, Term term);
  void append_entries(NodeId from, const AppendRequest& request);
  bool well_formed(const AppendRequest& request) const;
  void refuse_append(NodeId to, const AppendRequest& request);
  void acknowledge(NodeId to, LogIndex match, uint64_t read_seq);

  // membership.cc
  LogIndex configuration_index() const { return configurations_.back().first; }
  void on_change_config(const ChangeConfig& wanted);
  void append_configuration(Configuration next);
  void configuration_changed();
  void leave_joint_if_due();
  bool self_is_voter() const { return configuration().is_voter(self_); }

  // read_index.cc
  void on_read(uint64_t id);
  void begin_round();
  void release_reads();

  // lease.cc
  Instant lease_end_now(const Leader& leader) const;
  void record_support(Progress& peer, const AppendReply& reply);

  Leader* as_leader() { return std::get_if<Leader>(&role_); }
  const Leader* as_leader() const { return std::get_if<Leader>(&role_); }

  const NodeId self_;
  const ReplicaId replica_;
  const Incarnation incarnation_;
  const RaftOptions options_;
  const LivenessView& liveness_;
  Random& random_;

  HardState hard_;  // hard_.commit is what was written, commit_ what is known
  LogView log_;
  std::deque<std::pair<LogIndex, Configuration>> configurations_;  // front: in force at the log's start
  LogIndex commit_;
  LogIndex applied_;
  LogIndex delivered_;  // handed out in Output::committed
  uint64_t last_time_ms_ = 0;
  bool suspect_ = false;
  bool damaged_ = false;
  LogIndex told_commit_;  // by leaders while damaged: what is applied once it is mended

  WriteSeq issued_;
  WriteSeq durable_;
  LogIndex durable_index_;                                 // entries up to here are durable
  std::deque<std::pair<WriteSeq, LogIndex>> not_durable_;  // appends on their way to the disk, both rising

  std::variant<Follower, Candidate, Leader> role_;
  Promise promise_;
  Handover handover_;
  Instant silent_until_ = 0;
  Instant election_deadline_ = kNever;

  // Valid inside step() only.
  Instant now_ = 0;
  Output* out_ = nullptr;
  size_t writes_begin_ = 0;
};

}  // namespace cairn::consensus::raft
