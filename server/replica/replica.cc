#include "server/replica/replica.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/codec.h"
#include "sharding/range_descriptor.h"

namespace cairn::server {
namespace {
// A data entry's payload: the version counter after it, then the operations.
constexpr size_t kBatchHeader = 8;

constexpr std::string_view kIndeterminate =
    "-INDETERMINATE the request may have been applied: leadership of its range changed before it was confirmed\r\n";

uint32_t end_of_slots(std::string_view descriptor) {
  const auto range = sharding::decode_range_descriptor(descriptor);
  return range ? range->last_slot + 1 : 16384;
}
}  // namespace

Replica::Replica(ReplicaHost& host, RangeId range, ReplicaId id, NodeId self, std::string descriptor,
                 std::unique_ptr<consensus::ReplicatedLog> core, storage::Tablet& tablet, const Options& options)
    : host_(host),
      range_(range),
      id_(id),
      self_(self),
      descriptor_(std::move(descriptor)),
      slots_end_(end_of_slots(descriptor_)),
      core_(std::move(core)),
      tablet_(tablet),
      options_(options),
      applied_reported_(tablet.applied().index),
      committed_(tablet),
      alive_(std::make_shared<bool>(true)) {
  newest_ms_ = tablet.applied().time_ms;
}

Replica::~Replica() { *alive_ = false; }

void Replica::step(const consensus::Input& input) {
  core_->step(host_.now(), input, out_);
  host_.touch(*this);  // its deadline may have moved
  if (!draining_) drain();
}

// Carries out what the core wants, and what that makes it want, until it is content.
void Replica::drain() {
  draining_ = true;
  for (;;) {
    std::swap(out_, scratch_);
    consensus::Output& out = scratch_;
    if (out.writes.empty() && out.send_now.empty() && out.send_after.empty() && out.committed.empty() &&
        out.reads.empty() && out.need_snapshot.empty() && out.events.empty() && !out.status_changed) {
      break;
    }
    if (out.status_changed) lead_changed();
    for (const consensus::Envelope& envelope : out.send_now) {
      host_.send(envelope.to, range_, id_, {}, envelope.message);
    }
    for (const consensus::LogOp& op : out.writes) {
      if (const auto* append = std::get_if<consensus::AppendOp>(&op)) {
        const consensus::Entry& e = append->entry;
        host_.log().append(range_, {e.index, e.term, static_cast<uint8_t>(e.type), e.time_ms, e.payload});
      } else if (const auto* hard = std::get_if<consensus::HardStateOp>(&op)) {
        host_.log().hard_state(
            range_, {hard->state.term, hard->state.voted_for, hard->state.voted_incarnation, hard->state.commit});
      } else if (const auto* compact = std::get_if<consensus::CompactOp>(&op)) {
        host_.log().compact_to(range_, {compact->index, compact->term, compact->configuration});
      }
    }
    if (!out.writes.empty()) {
      handed_out_.push_back({host_.log().end(), out.writes_up_to});
    }
    for (consensus::GatedMessage& gated : out.send_after) {
      if (gated.gate <= durable_seq_) {
        host_.send(gated.envelope.to, range_, id_, {}, gated.envelope.message);
      } else {
        gated_.push_back(std::move(gated));
      }
    }
    apply_all(out.committed);
    for (const consensus::ReadReady& ready : out.reads) round_done(ready);
    for (const consensus::NeedSnapshot& need : out.need_snapshot) host_.need_snapshot(*this, need);
    for (const consensus::Event& event : out.events) host_.event(*this, event);
    out.clear();
    if (tablet_.applied().index > applied_reported_) {
      applied_reported_ = tablet_.applied().index;
      core_->step(host_.now(), consensus::Applied{applied_reported_}, out_);
    }
  }
  draining_ = false;
}

void Replica::log_durable(LogPosition position) {
  WriteSeq reached = durable_seq_;
  while (!handed_out_.empty() && handed_out_.front().position <= position) {
    reached = handed_out_.front().seq;
    handed_out_.pop_front();
  }
  if (reached == durable_seq_) return;
  durable_seq_ = reached;
  while (!gated_.empty() && gated_.front().gate <= durable_seq_) {
    const consensus::Envelope& envelope = gated_.front().envelope;
    host_.send(envelope.to, range_, id_, {}, envelope.message);
    gated_.pop_front();
  }
  step(consensus::StorageDone{reached});
}

void Replica::apply_all(const std::vector<consensus::Entry>& entries) {
  if (entries.empty()) return;
  const Instant began = host_.now();
  for (const consensus::Entry& entry : entries) apply(entry);
  host_.metrics().apply_duration.record_owned(host_.now() - began);
}

void Replica::apply(const consensus::Entry& entry) {
  storage::AppliedPosition position = tablet_.applied();
  if (entry.index <= position.index) return;  // replayed: the tablet had made it durable
  position.index = entry.index;
  position.term = entry.term;
  position.time_ms = std::max(position.time_ms, entry.time_ms);
  newest_ms_ = std::max(newest_ms_, position.time_ms);
  std::string_view operations;
  if (entry.type == consensus::EntryType::kData) {
    if (entry.payload.size() < kBatchHeader) {
      host_.replica_failed(*this, Error{ErrorCode::kCorruption, "an entry is too short"});
      return;
    }
    position.version_counter = std::max(position.version_counter, get_fixed<uint64_t>(entry.payload.view().data()));
    operations = entry.payload.view().substr(kBatchHeader);
  }
  if (const auto applied = tablet_.apply(position, operations); !applied) {
    host_.replica_failed(*this, applied.error());
    return;
  }
  host_.metrics().entries_applied.add_owned();
  if (operations.size() >= options_.chunk_bytes || !open_chunks_.empty()) note_chunks(operations);
  if (range_.value == 0 && !operations.empty()) host_.applied(*this, operations);
  if (leading_ && !pending_.empty() && pending_.front().index == entry.index) {
    PendingBatch batch = std::move(pending_.front());
    pending_.pop_front();
    batch_committed(std::move(batch), operations);
  }
}

void Replica::batch_committed(PendingBatch batch, std::string_view operations) {
  done_batch_ = batch.number;
  host_.metrics().commit_duration.record_owned(host_.now() - batch.proposed_at);
  pending_bytes_ -= batch.bytes;
  if (!overlay_.empty()) {
    storage::BatchReader reader(operations);
    storage::Op op;
    while (reader.next(op)) {
      if (op.kind == storage::OpKind::kClear) {
        overlay_.committed_clear(batch.number);
      } else if (op.kind != storage::OpKind::kPrefixDelete) {
        overlay_.committed(batch.number, op.key);
      }
    }
  }
  for (ParkedReply& parked : batch.replies) release(parked);
  while (!after_batch_.empty() && after_batch_.begin()->first <= done_batch_) {
    Task task = std::move(after_batch_.begin()->second);
    after_batch_.erase(after_batch_.begin());
    task();
  }
}

void Replica::release(ParkedReply& parked) {
  if (parked.read_round > done_round_) {
    rounds_[parked.read_round].push_back(std::move(parked));
    return;
  }
  if (parked.effects) host_.metrics().writes_acked.add_owned();
  host_.deliver(parked.target, parked.reply);
}

void Replica::round_done(const consensus::ReadReady& ready) {
  if (!ready.ok || !leading_) return;  // leadership is gone or going: lose_leadership() takes care of the replies
  done_round_ = std::max(done_round_, ready.id);
  while (!rounds_.empty() && rounds_.begin()->first <= done_round_) {
    auto replies = std::move(rounds_.begin()->second);
    rounds_.erase(rounds_.begin());
    host_.metrics().reads_by_index.add_owned(replies.size());
    for (ParkedReply& parked : replies) release(parked);
  }
}

void Replica::lead_changed() {
  const bool leader = core_->role() == consensus::Role::kLeader;
  if (leading_ && (!leader || core_->term() != leading_term_)) lose_leadership();
  if (leader && !leading_) {
    leading_ = true;
    leading_term_ = core_->term();
    ++leadership_;
    counter_loaded_ = false;
    host_.metrics().leader_changes.add_owned();
  }
  host_.status_changed(*this);
}

void Replica::lose_leadership() {
  leading_ = false;
  ++leadership_;
  ++data_epoch_;
  overlay_.drop();
  watched_.clear();
  batch_.reset();
  auto tasks = std::exchange(after_batch_, {});
  round_ = 0;
  done_round_ = last_round_;
  turn_ms_ = 0;

  // What was proposed may still commit under the next leader: its fate is unknown. Everything else runs elsewhere.
  std::vector<std::pair<uint64_t, OwnedCommand>> again;
  std::vector<ReplyTarget> unknown;
  const auto sort_out = [&](ParkedReply& parked) {
    if (parked.retry) {
      again.emplace_back(parked.order, std::move(parked.retry));
    } else {
      unknown.push_back(parked.target);
    }
  };
  for (PendingBatch& batch : pending_) {
    for (ParkedReply& parked : batch.replies) sort_out(parked);
  }
  for (ParkedReply& parked : batch_replies_) sort_out(parked);
  for (auto& [round, replies] : rounds_) {
    for (ParkedReply& parked : replies) sort_out(parked);
  }
  for (auto& [id, waiting] : waiting_) again.emplace_back(waiting->order, std::move(waiting->command));
  pending_.clear();
  pending_bytes_ = 0;
  batch_replies_.clear();
  rounds_.clear();
  waiting_.clear();
  locks_.clear();
  held_.clear();
  chunking_.clear();
  chunks_done_.clear();
  chunks_pending_ = 0;
  waiting_bytes_ = 0;

  for (const ReplyTarget& target : unknown) {
    host_.metrics().indeterminate.add_owned();
    host_.deliver(target, kIndeterminate);
  }
  std::stable_sort(again.begin(), again.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string_view> argv;
  for (const auto& [order, command] : again) host_.redispatch(command.call(argv), range_);
  for (auto& [batch, task] : tasks) task();  // they see that the leadership they belong to is gone
}

void Replica::abandon() {
  if (leading_) lose_leadership();
}

void Replica::propose_batch() {
  if (batch_.empty()) return;
  // The header was reserved when the batch began.
  std::string payload = batch_.take();
  std::memcpy(payload.data(), &version_counter_, sizeof version_counter_);
  consensus::Propose propose;
  propose.proposal.type = consensus::EntryType::kData;
  propose.proposal.time_ms = turn_ms_;
  propose.proposal.payload = SharedBytes(std::move(payload));
  newest_ms_ = std::max(newest_ms_, turn_ms_);

  PendingBatch pending;
  pending.number = batch_number_++;
  pending.proposed_at = host_.now();
  pending.bytes = propose.proposal.payload.size();
  pending.replies = std::move(batch_replies_);
  batch_replies_.clear();
  out_.proposed.reset();
  core_->step(pending.proposed_at, propose, out_);
  const auto result = out_.proposed;
  out_.proposed.reset();
  if (!result || !result->accepted) {
    // Certainly not in the log. Later evaluations of this turn saw these effects: they must go as well, so leadership
    // of this replica is over as far as commands are concerned; everything is run again by whoever leads.
    batch_replies_ = std::move(pending.replies);
    --batch_number_;
    lose_leadership();
    if (core_->role() == consensus::Role::kLeader) {
      leading_ = true;
      ++leadership_;
      counter_loaded_ = false;
      leads_from_ = core_->last_index();
    }
    if (!draining_) drain();
    return;
  }
  pending.index = result->index;
  pending_bytes_ += pending.bytes;
  for (ParkedReply& parked : pending.replies) {
    if (parked.effects) parked.retry.reset();
  }
  pending_.push_back(std::move(pending));
  host_.metrics().entries_proposed.add_owned();
  if (!draining_) drain();
}

void Replica::end_turn(bool gather) {
  if (!held_.empty() && host_.admits_writes() && host_.has_memory_for_large()) resume_held();
  if (!chunking_.empty() || !chunks_done_.empty()) serve_chunks();
  if (leading_ && !gather) propose_batch();
  if (round_ != 0 && leading_) {
    const uint64_t round = std::exchange(round_, 0);
    step(consensus::Read{round});
  }
  if (batch_.empty()) turn_ms_ = 0;
}

void Replica::compact_log(bool force) {
  LogIndex up_to = tablet_.flushed().index;
  if (!force) {
    if (core_->role() == consensus::Role::kLeader && core_->log_bytes() < options_.catchup_bytes) {
      for (const consensus::PeerStatus& peer : core_->status().peers) up_to = std::min(up_to, peer.match);
    } else if (core_->role() != consensus::Role::kLeader) {
      up_to = std::min(up_to, core_->held_from().prev());  // the rest is kept for the case that this replica leads next
    }
  }
  if (up_to >= core_->first_index()) step(consensus::Compact{up_to});
}

bool Replica::may_install(const storage::AppliedPosition& position) const {
  if (installing_ || core_->role() == consensus::Role::kLeader) return false;
  const LogIndex commit = core_->commit_index();
  return position.index > commit || (core_->damaged() && position.index == commit);
}

void Replica::end_install(bool ok, const storage::AppliedPosition& position, const std::string& configuration) {
  installing_ = false;
  if (!ok) return;
  open_chunks_.clear();
  applied_reported_ = tablet_.applied().index;
  newest_ms_ = std::max(newest_ms_, position.time_ms);
  consensus::SnapshotInstalled installed;
  installed.index = position.index;
  installed.term = position.term;
  installed.configuration = configuration;
  installed.time_ms = position.time_ms;
  step(installed);
}

RangeStatus Replica::status() const {
  RangeStatus status;
  status.consensus = core_->status();
  status.tablet = tablet_.stats();
  status.leading = leads();
  return status;
}

std::string Replica::waiting_text() const {
  size_t fetching = 0;
  for (const auto& [id, waiting] : waiting_) fetching += waiting->fetching ? 1 : 0;
  return fmt::format(
      "range {}: leads {} batch {} done {} pending {} rounds {} (asked {}, done {}) rows {} (fetching {})",
      range_.value, leads(), batch_number_, done_batch_, pending_.size(), rounds_.size(), last_round_, done_round_,
      waiting_.size(), fetching);
}

std::string ReadIndex::encode() const {
  std::string out;
  put_varint(out, index.value);
  put_varint(out, time_ms);
  return out;
}

std::optional<ReadIndex> ReadIndex::decode(std::string_view bytes) {
  Decoder in(bytes);
  ReadIndex read;
  read.index = in.number<LogIndexTag>();
  read.time_ms = in.varint();
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return read;
}

std::string RangeStatus::encode() const {
  std::string out;
  put_u8(out, 1);
  put_u8(out, static_cast<uint8_t>(consensus.role));
  put_u8(out, leading ? 1 : 0);
  put_u8(out, consensus.suspect ? 1 : 0);
  put_varint(out, consensus.term.value);
  put_varint(out, consensus.leader.value);
  put_varint(out, consensus.commit.value);
  put_varint(out, tablet.applied.index.value);
  put_varint(out, consensus.first_index.value);
  put_varint(out, consensus.last_index.value);
  put_bytes(out, consensus.configuration.encode());
  put_varint(out, consensus.peers.size());
  for (const auto& peer : consensus.peers) {
    put_varint(out, peer.member.node.value);
    put_varint(out, peer.match.value);
    put_u8(out, peer.snapshotting ? 1 : 0);
  }
  put_varint(out, tablet.flushed.index.value);
  put_varint(out, tablet.sstables);
  put_varint(out, tablet.sstable_bytes);
  put_varint(out, tablet.memtable_bytes);
  put_u8(out, tablet.corrupt ? 1 : 0);
  put_bytes(out, tablet.corruption);
  return out;
}

std::optional<RangeStatus> RangeStatus::decode(std::string_view bytes) {
  Decoder in(bytes);
  RangeStatus s;
  if (in.u8() != 1) return std::nullopt;
  const uint8_t role = in.u8();
  if (role > static_cast<uint8_t>(consensus::Role::kLeader)) return std::nullopt;
  s.consensus.role = static_cast<consensus::Role>(role);
  s.leading = in.u8() != 0;
  s.consensus.suspect = in.u8() != 0;
  s.consensus.term = in.number<TermTag>();
  s.consensus.leader = in.number<NodeIdTag>();
  s.consensus.commit = in.number<LogIndexTag>();
  s.tablet.applied.index = in.number<LogIndexTag>();
  s.consensus.applied = s.tablet.applied.index;
  s.consensus.first_index = in.number<LogIndexTag>();
  s.consensus.last_index = in.number<LogIndexTag>();
  auto configuration = consensus::Configuration::decode(in.bytes());
  if (!configuration) return std::nullopt;
  s.consensus.configuration = std::move(*configuration);
  const uint64_t peers = in.varint();
  for (uint64_t i = 0; i < peers && in.ok(); ++i) {
    consensus::PeerStatus peer;
    peer.member.node = in.number<NodeIdTag>();
    peer.match = in.number<LogIndexTag>();
    peer.snapshotting = in.u8() != 0;
    s.consensus.peers.push_back(peer);
  }
  s.tablet.flushed.index = in.number<LogIndexTag>();
  s.tablet.sstables = in.varint();
  s.tablet.sstable_bytes = in.varint();
  s.tablet.memtable_bytes = in.varint();
  s.tablet.corrupt = in.u8() != 0;
  s.tablet.corruption = in.bytes();
  if (!in.ok()) return std::nullopt;
  return s;
}

}  // namespace cairn::server
