// The leader's lease (thesis 6.4.1), built on the support that node links grant (docs/consensus.md, "Reads").
#include "consensus/lease.h"

#include "consensus/raft/raft.h"

namespace cairn::consensus::raft {

// A follower counts only if it acknowledged an append of this leader's term, in the life and under the
// support epoch that the link confirms now: any other acknowledgement promised nothing that still binds it.
Instant Raft::lease_end_now(const Leader& lead) const {
  return lease_end(configuration(), self_, [&](NodeId node) -> Instant {
    for (const Progress& peer : lead.peers) {
      if (peer.member.node != node) continue;
      const PeerLiveness& link = liveness_.peer(node);
      if (CAIRN_PLANTED("lease-counts-restarted-follower")) return peer.acknowledged ? link.held_until : 0;
      const bool counts =
          peer.acknowledged && link.held.value != 0 && peer.epoch == link.held && peer.incarnation == link.incarnation;
      return counts ? link.held_until : 0;
    }
    return 0;
  });
}

bool Raft::may_serve(Instant now) const {
  const Leader* lead = as_leader();
  if (lead == nullptr || suspect_ || lead->transfer_to.value != 0) return false;
  if (applied_ < lead->noop && !CAIRN_PLANTED("serve-before-noop-applied")) return false;
  if (CAIRN_PLANTED("read-without-lease-check")) return true;
  return !lead->lease_given_up && now < lease_end_now(*lead);
}

void Raft::record_support(Progress& peer, const AppendReply& reply) {
  // Answers may overtake each other: only a newer life, or a newer epoch in the same life, replaces what is
  // known.
  if (peer.acknowledged && (reply.incarnation < peer.incarnation ||
                            (reply.incarnation == peer.incarnation && reply.support_epoch < peer.epoch))) {
    return;
  }
  peer.acknowledged = true;
  peer.incarnation = reply.incarnation;
  peer.epoch = reply.support_epoch;
}

}  // namespace cairn::consensus::raft
