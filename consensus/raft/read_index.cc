// Linearizable reads without a lease: thesis 6.4.
#include <algorithm>

#include "consensus/raft/raft.h"

namespace cairn::consensus::raft {

void Raft::on_read(uint64_t id) {
  Leader* lead = as_leader();
  if (lead == nullptr || suspect_) {
    out_->reads.push_back({id, {}, false});
    return;
  }
  if (CAIRN_PLANTED("readindex-without-round")) {
    out_->reads.push_back({id, commit_, true});
    return;
  }
  // Before an entry of the own term is committed the commit index may be older than what clients were told.
  const bool round_under_way = lead->reads.round_under_way();
  lead->reads.add(id, std::max(commit_, lead->noop));
  // A round that began earlier proves nothing for this read; it joins the next one.
  if (!round_under_way) begin_round();
}

void Raft::begin_round() {
  Leader& lead = *as_leader();
  ++lead.round;
  lead.reads.begin(lead.round);
  for (Progress& peer : lead.peers) {
    if (!configuration().is_voter(peer.member.node)) continue;
    peer.round_wanted = lead.round;
    send_empty(peer);
  }
}

void Raft::release_reads() {
  Leader& lead = *as_leader();
  if (lead.reads.empty() || commit_ < lead.noop) return;
  const uint64_t confirmed = quorum_value(configuration(), [&](NodeId node) -> uint64_t {
    if (node == self_) return lead.round;
    const Progress* peer = progress_of(node);
    return peer == nullptr ? 0 : peer->round_acked;
  });
  lead.reads.release(confirmed, [&](const ReadQueue::Waiting& read) {
    out_->reads.push_back({read.id, read.index, true});
  });
  if (lead.reads.has_unassigned() && !lead.reads.round_under_way()) {
    begin_round();
  }
}

}  // namespace cairn::consensus::raft
