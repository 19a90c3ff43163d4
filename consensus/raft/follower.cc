// The receiving side of replication: Raft 5.3, 5.5.
#include <algorithm>

#include "base/assert.h"
#include "consensus/raft/raft.h"

namespace cairn::consensus::raft {

bool Raft::well_formed(const AppendRequest& request) const {
  LogIndex index = request.prev_index;
  Term term = request.prev_term;
  if (term > request.term) return false;
  for (const Entry& entry : request.entries) {
    index = index.next();
    if (entry.index != index || entry.term < term || entry.term > request.term) return false;
    if (entry.type == EntryType::kConfiguration && !Configuration::decode(entry.payload.view())) return false;
    term = entry.term;
  }
  return request.prev_index.value <= (~uint64_t{0} >> 1);
}

void Raft::on_append_request(NodeId from, const AppendRequest& request) {
  if (request.term < hard_.term) {  // a deposed leader learns the term
    AppendReply reply;
    reply.term = hard_.term;
    reply.hint_index = log_.last_index();
    reply.hint_term = log_.last_term();
    reply.incarnation = incarnation_;
    send(from, reply);
    return;
  }
  if (!well_formed(request)) return;
  if (as_leader() && request.term == hard_.term) return;  // no second leader of our own term can be genuine
  accept_leader(from, request.term);
  if (suspect_) return;
  // Until it is mended it keeps what it gets and applies nothing: there has to be an end to that.
  if (damaged_ && !request.entries.empty() && log_.bytes() > options_.damaged_bytes_max) return;
  append_entries(from, request);
}

void Raft::accept_leader(NodeId from, Term term) {
  const auto* follower = std::get_if<Follower>(&role_);
  const PeerLiveness& peer = liveness_.peer(from);
  if (follower == nullptr || term > hard_.term || follower->leader != from) {
    become_follower(term, from);
  } else {
    auto& known = std::get<Follower>(role_);
    known.lost = false;
    known.incarnation = peer.incarnation;
  }
  if (suspect_) return;
  // From here until the link withdraws this epoch no other leader gets a vote: what an acknowledgement says.
  if (peer.granted.value != 0) {
    promise_ = {from, peer.incarnation, peer.granted, term};
    election_deadline_ = kNever;
  } else {
    promise_ = {};  // one to an earlier leader is void: a later term's leader was elected in spite of it
    election_deadline_ = may_campaign() ? std::max(silent_until_, now_ + election_wait()) : kNever;
  }
}

void Raft::append_entries(NodeId from, const AppendRequest& request) {
  // What is committed here equals the leader's log (leader completeness), so only what lies above is
  // compared.
  if (request.prev_index > commit_) {
    const auto term = log_.term_at(request.prev_index);
    if (!term || *term != request.prev_term) return refuse_append(from, request);
  } else if (const auto term = log_.term_at(request.prev_index); term && *term != request.prev_term) {
    return refuse_append(from, request);  // contradicts a committed entry: not from a sound leader
  }
  for (const Entry& entry : request.entries) {
    const auto term = log_.term_at(entry.index);
    if (entry.index <= commit_) {
      if (term && *term != entry.term) return refuse_append(from, request);
      continue;
    }
    if (term && *term == entry.term) continue;
    if (term) truncate_log(entry.index);
    append_to_log(entry);
    if (entry.type == EntryType::kConfiguration) {
      configurations_.emplace_back(entry.index, *Configuration::decode(entry.payload.view()));
      configuration_changed();
    }
  }
  const LogIndex last_new{request.prev_index.value + request.entries.size()};
  const LogIndex told = std::min(request.commit, last_new);
  if (damaged_) {
    told_commit_ = std::max(told_commit_, told);  // a leader that falls silent will not say it again
  } else {
    advance_commit(std::max(commit_, told));
  }
  if (request.entries.empty() && request.read_seq > 0 && durable_ < issued_) {
    // A round asks who leads, not what is durable: it is answered at once, and reads do not wait for this
    // disk.
    AppendReply heard;
    heard.term = hard_.term;
    heard.ok = true;
    heard.read_seq = request.read_seq;
    heard.incarnation = incarnation_;
    if (promise_.node == from && promise_holds()) heard.support_epoch = promise_.epoch;
    send(from, heard);
  }
  acknowledge(from, std::max(last_new, commit_), request.read_seq);
}

void Raft::refuse_append(NodeId to, const AppendRequest& request) {
  AppendReply reply;
  reply.term = hard_.term;
  reply.hint_index = std::max(commit_, log_.last_at_most(request.prev_index, request.prev_term));
  reply.hint_term = log_.term_at(reply.hint_index).value_or(Term{});
  reply.read_seq = request.read_seq;  // says only that this term's leader was heard
  reply.incarnation = incarnation_;
  send(to, reply);
}

void Raft::acknowledge(NodeId to, LogIndex match, uint64_t read_seq) {
  if (suspect_) return;
  AppendReply reply;
  reply.term = hard_.term;
  reply.ok = true;
  reply.match = match;
  reply.read_seq = read_seq;
  reply.incarnation = incarnation_;
  if (promise_.node == to && promise_holds()) reply.support_epoch = promise_.epoch;
  if (CAIRN_PLANTED("append-ack-before-sync")) {
    send(to, reply);
  } else {
    send_gated(to, reply);
  }
}

}  // namespace cairn::consensus::raft
