#include "server/cluster/snapshots.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checksum.h"
#include "base/codec.h"
#include "storage/snapshot_check.h"

namespace cairn::server {
namespace {

// Writes what has come. With the last of it: makes the files durable, checks them, and only then describes them in
// META. In slices, in the background.
class ReceiveJob {
 public:
  ReceiveJob(storage::FileSystem& fs, std::string dir, std::deque<SharedBytes> chunks,
             std::shared_ptr<std::vector<std::unique_ptr<storage::File>>> files, std::optional<SnapshotMeta> last)
      : fs_(fs), dir_(std::move(dir)), chunks_(std::move(chunks)), files_(std::move(files)), last_(std::move(last)) {}
  bool step() {
    auto more = work();
    if (more && *more) return true;
    if (!more) result_ = std::move(more).error();
    return false;
  }
  bool last() const { return last_.has_value(); }
  const Result<void>& result() const { return result_; }  // once there are no steps any more

 private:
  Result<bool> work() {
    if (check_) {
      CAIRN_TRY(const bool more, check_->step());
      if (more) return true;
      CAIRN_TRY_VOID(storage::write_file_atomic(fs_, storage::join_path(dir_, "META"), last_->encode()));
      CAIRN_TRY_VOID(fs_.sync_dir(storage::parent_dir(dir_)));
      return false;
    }
    for (const SharedBytes& frame : chunks_) {
      const auto chunk = SnapshotChunkFrame::decode(frame.view());
      CAIRN_TRY_VOID((*files_)[chunk->file]->write_at(chunk->offset, chunk->data));
    }
    if (!last_) return false;
    for (const auto& file : *files_) CAIRN_TRY_VOID(file->sync());
    check_ = std::make_unique<storage::SnapshotCheck>(fs_, dir_, last_->manifest);
    return true;
  }

  storage::FileSystem& fs_;
  const std::string dir_;
  const std::deque<SharedBytes> chunks_;
  const std::shared_ptr<std::vector<std::unique_ptr<storage::File>>> files_;
  const std::optional<SnapshotMeta> last_;
  std::unique_ptr<storage::SnapshotCheck> check_;
  Result<void> result_;
};

}  // namespace

using storage::join_path;

std::string incoming_snapshot_dir(const std::string& data_dir, uint64_t snapshot_id) {
  return join_path(join_path(data_dir, "snap"), "in-" + std::to_string(snapshot_id));
}

std::string SnapshotMeta::encode() const {
  std::string out;
  put_u8(out, 1);
  put_varint(out, range.value);
  put_varint(out, position.index.value);
  put_varint(out, position.term.value);
  put_varint(out, position.time_ms);
  put_varint(out, position.version_counter);
  put_bytes(out, configuration);
  put_bytes(out, manifest);
  put_u32(out, crc32c(out));
  return out;
}

std::optional<SnapshotMeta> SnapshotMeta::decode(std::string_view bytes) {
  if (bytes.size() < 5) return std::nullopt;
  const std::string_view body = bytes.substr(0, bytes.size() - 4);
  if (get_fixed<uint32_t>(bytes.data() + body.size()) != crc32c(body)) return std::nullopt;
  Decoder in(body);
  if (in.u8() != 1) return std::nullopt;
  SnapshotMeta meta;
  meta.range = in.number<RangeIdTag>();
  meta.position.index = in.number<LogIndexTag>();
  meta.position.term = in.number<TermTag>();
  meta.position.time_ms = in.varint();
  meta.position.version_counter = in.varint();
  meta.configuration = in.bytes();
  meta.manifest = in.bytes();
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return meta;
}

Snapshots::Snapshots(SnapshotHost& host, const NodeEnvironment& env, const NodeOptions& options)
    : host_(host), env_(env), options_(options), alive_(std::make_shared<bool>(true)) {}

Snapshots::~Snapshots() { *alive_ = false; }

// ---- sending ----

bool Snapshots::sends(RangeId range, NodeId peer) const {
  return std::ranges::any_of(outgoing_,
                             [&](const auto& out) { return out.second.range == range && out.second.peer == peer; });
}

// The core hears of every end of a stream to its peer, whoever asked for it.
void Snapshots::want(Replica& replica, const consensus::NeedSnapshot& need) {
  if (sends(replica.range(), need.peer)) return;
  Outgoing out;
  out.id = host_.new_snapshot_id();
  out.range = replica.range();
  out.peer = need.peer;
  out.peer_replica = need.replica;
  out.term = replica.core().term();
  out.progress = env_.clock->now();
  outgoing_.emplace(out.id, std::move(out));
  start_queued();
}

void Snapshots::start_queued() {
  size_t running = 0;
  for (const auto& [id, out] : outgoing_) running += out.started ? 1 : 0;
  for (auto& [id, out] : outgoing_) {
    if (running >= kOutgoingMax) return;
    if (out.started) continue;
    Replica* replica = host_.find_replica(out.range);
    if (replica == nullptr) continue;  // tick() gives it up
    out.started = true;
    ++running;
    replica->tablet().checkpoint([this, alive = alive_, id = id](Result<storage::Checkpoint> checkpoint) {
      if (!*alive) return;
      const auto found = outgoing_.find(id);
      if (found == outgoing_.end()) {
        if (checkpoint) host_.store().remove_snapshot(checkpoint->dir);
        return;
      }
      Outgoing& out = found->second;
      Replica* replica = host_.find_replica(out.range);
      if (!checkpoint || replica == nullptr) return end_outgoing(id, false);
      out.checkpoint = std::move(*checkpoint);
      out.progress = env_.clock->now();
      SnapshotBeginFrame begin;
      begin.transfer = id;
      begin.range = out.range;
      begin.from = replica->id();
      begin.to = out.peer_replica;
      begin.term = out.term;
      begin.position = out.checkpoint.position;
      begin.configuration = replica->core().configuration_at(out.checkpoint.position.index).encode();
      begin.manifest = out.checkpoint.manifest;
      begin.files = out.checkpoint.files;
      host_.send_bulk(out.peer, begin.encode());
      send_more(id);
    });
  }
}

void Snapshots::send_more(uint64_t id) {
  const auto found = outgoing_.find(id);
  if (found == outgoing_.end()) return;
  Outgoing& out = found->second;
  if (out.reading || out.file >= out.checkpoint.files.size()) return;
  if (out.sent - out.confirmed >= options_.snapshot_window_bytes) return;
  out.reading = true;
  const storage::SnapshotFile& file = out.checkpoint.files[out.file];
  const uint64_t length = std::min<uint64_t>(options_.snapshot_chunk_bytes, file.bytes - out.offset);
  if (out.offset == 0) out.hash = std::make_shared<storage::FileHash>();
  auto data = std::make_shared<Result<std::string>>(std::string(length, '\0'));
  env_.background->submit(
      JobPriority::kLow, [this, alive = alive_, id, data, length, loop = env_.loop, fs = env_.fs,
                          path = join_path(out.checkpoint.dir, file.name), offset = out.offset, hash = out.hash, file] {
        const auto read = [&]() -> Result<std::string> {
          std::string bytes(length, '\0');
          CAIRN_TRY(auto opened, fs->open(path, storage::OpenMode::kRead));
          CAIRN_TRY(const size_t got, opened->read_at(offset, bytes));
          if (got != length) return Error{ErrorCode::kCorruption, path + " is shorter than its snapshot says"};
          hash->update(bytes);
          if (offset + length == file.bytes && hash->digest() != file.hash) {
            return Error{ErrorCode::kCorruption, path + " has changed since its snapshot was made"};
          }
          return bytes;
        };
        *data = read();
        loop->post([this, alive, id, data] {
          if (!*alive) return;
          const auto found = outgoing_.find(id);
          if (found == outgoing_.end()) return;
          Outgoing& out = found->second;
          out.reading = false;
          if (!*data) return read_failed(id, data->error());
          SnapshotChunkFrame chunk;
          chunk.transfer = id;
          chunk.file = static_cast<uint32_t>(out.file);
          chunk.offset = out.offset;
          chunk.data = **data;
          chunk.crc = crc32c(chunk.data);
          host_.send_bulk(out.peer, chunk.encode());
          metrics_.bytes_sent.add_owned(chunk.data.size());
          out.sent += chunk.data.size();
          out.offset += chunk.data.size();
          if (out.offset >= out.checkpoint.files[out.file].bytes) {
            ++out.file;
            out.offset = 0;
          }
          send_more(id);
        });
        return false;
      });
}

// The receiver is asked to take nothing that is not whole. If the tablet still has the file it is looked at, and is no
// more served nor sent if it is damaged; the next snapshot comes from whoever leads then.
void Snapshots::read_failed(uint64_t id, const Error& error) {
  const Outgoing& out = outgoing_.at(id);
  env_.log(LogLevel::kError, fmt::format("range {}: the snapshot for node {} was not sent: {}", out.range.value,
                                         out.peer.value, to_string(error)));
  Replica* replica = host_.find_replica(out.range);
  if (error.code == ErrorCode::kCorruption) {
    metrics_.damaged_out.add_owned();
    if (replica != nullptr) replica->tablet().examine(out.checkpoint.files[out.file].name);
  }
  end_outgoing(id, false);
}

void Snapshots::end_outgoing(uint64_t id, bool ok) {
  const auto found = outgoing_.find(id);
  if (found == outgoing_.end()) return;
  const Outgoing out = std::move(found->second);
  outgoing_.erase(found);
  if (!out.checkpoint.dir.empty()) host_.store().remove_snapshot(out.checkpoint.dir);  // leftovers go at start
  (ok ? metrics_.sent : metrics_.failed).add_owned();
  if (Replica* replica = host_.find_replica(out.range)) {
    replica->step(consensus::SnapshotSent{out.peer, ok, out.checkpoint.position.index});
  }
  start_queued();
}

void Snapshots::asked(NodeId from, const SnapshotRequestFrame& request) {
  Replica* replica = host_.find_replica(request.range);
  if (replica == nullptr || replica->core().role() != consensus::Role::kLeader) return;
  const auto* member = replica->core().configuration().find(from);
  if (member != nullptr && member->replica == request.from) want(*replica, {from, request.from});
}

// ---- receiving ----

void Snapshots::ask(const Replica& replica) {
  const NodeId leader = replica.core().leader();
  const bool receiving =
      std::ranges::any_of(incoming_, [&](const auto& in) { return in.second.begin.range == replica.range(); });
  if (leader.value == 0 || receiving) return;
  host_.send_bulk(leader, SnapshotRequestFrame{replica.range(), replica.id()}.encode());
}

void Snapshots::on_frame(NodeId from, SharedBytes frame) {
  switch (static_cast<FrameKind>(frame_kind(frame.view()))) {
    case FrameKind::kSnapshotBegin:
      if (auto begin = SnapshotBeginFrame::decode(frame.view())) begin_incoming(from, std::move(*begin));
      return;
    case FrameKind::kSnapshotChunk: {
      const auto chunk = SnapshotChunkFrame::decode(frame.view());
      if (!chunk) return;
      for (auto& [key, incoming] : incoming_) {
        if (incoming.from != from || incoming.transfer != chunk->transfer) continue;
        if (crc32c(chunk->data) != chunk->crc || chunk->file >= incoming.begin.files.size() ||
            chunk->offset + chunk->data.size() > incoming.begin.files[chunk->file].bytes) {
          return end_incoming(key, false);
        }
        incoming.received += chunk->data.size();
        metrics_.bytes_received.add_owned(chunk->data.size());
        incoming.chunks.push_back(frame);
        write_more(key);
        return;
      }
      return;
    }
    case FrameKind::kSnapshotReply: {
      const auto reply = SnapshotReplyFrame::decode(frame.view());
      if (!reply) return;
      const auto found = outgoing_.find(reply->transfer);
      if (found == outgoing_.end() || found->second.peer != from) return;
      found->second.progress = env_.clock->now();
      if (reply->status != SnapshotReplyFrame::Status::kContinue) {
        return end_outgoing(reply->transfer, reply->status == SnapshotReplyFrame::Status::kInstalled);
      }
      found->second.confirmed = std::max(found->second.confirmed, reply->bytes);
      send_more(reply->transfer);
      return;
    }
    case FrameKind::kSnapshotRequest:
      if (const auto request = SnapshotRequestFrame::decode(frame.view())) asked(from, *request);
      return;
    default: return;
  }
}

void Snapshots::reply(const Incoming& incoming, SnapshotReplyFrame::Status status) {
  SnapshotReplyFrame frame;
  frame.transfer = incoming.transfer;
  frame.status = status;
  frame.bytes = incoming.received;
  host_.send_bulk(incoming.from, frame.encode());
}

void Snapshots::begin_incoming(NodeId from, SnapshotBeginFrame begin) {
  for (const auto& [key, other] : incoming_) {  // a leader that starts again, or another leader
    if (other.begin.range == begin.range && !other.installing) {
      end_incoming(key, false);
      break;
    }
  }
  Incoming incoming;
  incoming.transfer = begin.transfer;
  incoming.from = from;
  incoming.snapshot_id = host_.new_snapshot_id();
  incoming.progress = env_.clock->now();
  incoming.begin = std::move(begin);
  incoming.dir = incoming_snapshot_dir(options_.data_dir, incoming.snapshot_id);
  Replica* replica = host_.find_replica(incoming.begin.range);
  if (replica == nullptr || replica->id() != incoming.begin.to || !replica->may_install(incoming.begin.position) ||
      incoming.begin.term < replica->core().term() || !consensus::Configuration::decode(incoming.begin.configuration)) {
    return reply(incoming, SnapshotReplyFrame::Status::kFailed);
  }
  for (const auto& file : incoming.begin.files) incoming.expected += file.bytes;
  incoming.files = std::make_shared<std::vector<std::unique_ptr<storage::File>>>();
  const auto prepare = [&]() -> Result<void> {
    CAIRN_TRY_VOID(env_.fs->create_dirs(incoming.dir));
    for (const auto& file : incoming.begin.files) {
      CAIRN_TRY(auto opened, env_.fs->open(join_path(incoming.dir, file.name), storage::OpenMode::kCreateNew));
      incoming.files->push_back(std::move(opened));
    }
    return {};
  };
  const uint64_t key = incoming.snapshot_id;
  const bool prepared = prepare().has_value();
  incoming_.emplace(key, std::move(incoming));
  if (!prepared) return end_incoming(key, false);
  write_more(key);
}

void Snapshots::write_more(uint64_t key) {
  const auto found = incoming_.find(key);
  if (found == incoming_.end() || found->second.writing || found->second.installing) return;
  Incoming& incoming = found->second;
  if (incoming.chunks.empty() && incoming.received < incoming.expected) return;
  incoming.writing = true;
  std::optional<SnapshotMeta> last;
  if (incoming.received >= incoming.expected) {
    last = SnapshotMeta{incoming.begin.range, incoming.begin.position, incoming.begin.configuration,
                        incoming.begin.manifest};
  }
  auto job = std::make_shared<ReceiveJob>(*env_.fs, incoming.dir, std::exchange(incoming.chunks, {}), incoming.files,
                                          std::move(last));
  env_.background->submit(JobPriority::kLow, [this, alive = alive_, key, job, loop = env_.loop] {
    if (job->step()) return true;
    loop->post([this, alive, key, job] {
      if (!*alive) return;
      const auto found = incoming_.find(key);
      if (found == incoming_.end()) return;
      found->second.writing = false;
      found->second.progress = env_.clock->now();
      if (!job->result()) return write_failed(key, job->result().error());
      if (job->last()) return received_all(key);
      reply(found->second, SnapshotReplyFrame::Status::kContinue);
      write_more(key);
    });
    return false;
  });
}

// Nothing has changed but the directory, which goes. The sender hears of it and may begin anew; a damaged replica asks
// by itself.
void Snapshots::write_failed(uint64_t key, const Error& error) {
  const Incoming& incoming = incoming_.at(key);
  env_.log(LogLevel::kError, fmt::format("range {}: the snapshot from node {} is not taken over: {}",
                                         incoming.begin.range.value, incoming.from.value, to_string(error)));
  if (error.code == ErrorCode::kCorruption) metrics_.damaged_in.add_owned();
  end_incoming(key, false);
}

// One deciding record, in the log; then the manifest edit; then the core.
void Snapshots::received_all(uint64_t key) {
  Incoming& incoming = incoming_.at(key);
  const SnapshotBeginFrame& begin = incoming.begin;
  Replica* replica = host_.find_replica(begin.range);
  if (replica == nullptr || !replica->may_install(begin.position)) return end_incoming(key, false);
  incoming.installing = true;
  replica->begin_install();
  storage::SnapshotMarkRecord mark;
  mark.start = {begin.position.index, begin.position.term, begin.configuration};
  mark.snapshot_id = incoming.snapshot_id;
  host_.log().snapshot_mark(begin.range, mark);
  host_.when_log_durable([this, alive = alive_, key] {
    if (!*alive) return;
    Incoming& incoming = incoming_.at(key);
    host_.store().install(incoming.begin.range, incoming.dir, incoming.begin.manifest, incoming.begin.position,
                          [this, alive, key](Result<void> installed) {
                            if (!*alive) return;
                            Incoming& incoming = incoming_.at(key);
                            if (!installed) {
                              // The mark says that this replica's state is the snapshot: without it there is no state.
                              env_.fatal(with_context(installed.error(), "installing a snapshot"));
                              return;
                            }
                            if (Replica* replica = host_.find_replica(incoming.begin.range)) {
                              replica->end_install(true, incoming.begin.position, incoming.begin.configuration);
                              host_.snapshot_installed(*replica);
                            }
                            metrics_.received.add_owned();
                            end_incoming(key, true);
                          });
  });
}

void Snapshots::end_incoming(uint64_t key, bool ok) {
  const auto found = incoming_.find(key);
  if (found == incoming_.end()) return;
  const Incoming incoming = std::move(found->second);
  incoming_.erase(found);
  reply(incoming, ok ? SnapshotReplyFrame::Status::kInstalled : SnapshotReplyFrame::Status::kFailed);
  host_.store().remove_snapshot(incoming.dir);  // leftovers go at start
}

void Snapshots::peer_lost(NodeId peer) {
  std::vector<uint64_t> ids;
  for (const auto& [id, out] : outgoing_) {
    if (out.peer == peer) ids.push_back(id);
  }
  for (uint64_t id : ids) end_outgoing(id, false);
  ids.clear();
  for (const auto& [key, incoming] : incoming_) {
    if (incoming.from == peer && !incoming.installing) ids.push_back(key);
  }
  for (uint64_t key : ids) end_incoming(key, false);
}

void Snapshots::tick(Instant now) {
  std::vector<uint64_t> ids;
  for (const auto& [id, out] : outgoing_) {
    if (now > out.progress + kStandstill) ids.push_back(id);
  }
  for (uint64_t id : ids) end_outgoing(id, false);
  ids.clear();
  for (const auto& [key, incoming] : incoming_) {
    if (!incoming.installing && !incoming.writing && now > incoming.progress + kStandstill) ids.push_back(key);
  }
  for (uint64_t key : ids) end_incoming(key, false);
}

std::vector<SnapshotTransfer> Snapshots::transfers() const {
  std::vector<SnapshotTransfer> list;
  for (const auto& [id, out] : outgoing_) {
    uint64_t total = 0;
    for (const auto& file : out.checkpoint.files) total += file.bytes;
    list.push_back({id, true, out.started, out.range, out.peer, out.confirmed, total});
  }
  for (const auto& [id, in] : incoming_) {
    list.push_back({in.snapshot_id, false, true, in.begin.range, in.from, in.received, in.expected});
  }
  return list;
}

}  // namespace cairn::server
