// Opening a data directory: identity, log, manifest, replicas; then joining or bootstrapping if it is new.
#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "server/cluster/node.h"
#include "server/commands/row_format.h"
#include "sharding/slot.h"

namespace cairn::server {

using storage::join_path;

namespace {
constexpr Duration kAnnouncePause = 200 * kMillisecond;

std::string encoded(const sharding::RangeDescriptor& range) {
  std::string out;
  sharding::encode(out, range);
  return out;
}
}  // namespace

Result<void> Node::start() {
  CAIRN_TRY_VOID(env_.fs->create_dirs(options_.data_dir));
  CAIRN_TRY(lock_, env_.fs->lock(join_path(options_.data_dir, "LOCK")));
  CAIRN_TRY(identity_, load_identity(*env_.fs, options_.data_dir, *env_.random, &fresh_));
  if (identity_.node.value == 0 && !options_.bootstrap && options_.join.empty()) {
    return Error{
        ErrorCode::kInvalidArgument,
        options_.data_dir + " holds no node yet: start with --bootstrap to create a cluster or --join to join one"};
  }
  // Durable before the first message of this life.
  identity_.incarnation = identity_.incarnation.next();
  CAIRN_TRY_VOID(save_identity(*env_.fs, options_.data_dir, identity_));
  CAIRN_TRY(saved_peers_, load_peers(*env_.fs, options_.data_dir));
  CAIRN_TRY_VOID(open_storage());
  load_scrub_time();
  if (identity_.node.value != 0) {
    CAIRN_TRY_VOID(adopt_identity());
  } else if (options_.bootstrap) {
    CAIRN_TRY_VOID(bootstrap());
  } else {
    env_.loop->post([this, alive = alive_] {
      if (*alive && !stopped_) try_join(0);
    });
  }
  env_.loop->post([this, alive = alive_] {
    if (*alive) tick();
  });
  return {};
}

Result<void> Node::open_storage() {
  const std::string snap_dir = join_path(options_.data_dir, "snap");
  for (const char* dir : {"log", "log/0", "shard-0", "sst", "snap"}) {
    CAIRN_TRY_VOID(env_.fs->create_dirs(join_path(options_.data_dir, dir)));
  }
  reserve_.emplace(*env_.fs, join_path(options_.data_dir, "RESERVE"), options_.reserve_bytes);
  CAIRN_TRY_VOID(reserve_->start());
  if (!reserve_->held()) note(LogLevel::kError, "the disk is full: writes are refused until there is space");
  storage::LogRecovery recovery;
  storage::SharedLog::Environment log_env;
  log_env.fs = env_.fs;
  log_env.writer = env_.writer;
  log_env.background = env_.background;
  log_env.loop = env_.loop;
  log_env.clock = env_.clock;
  log_env.on_durable = [this](LogPosition position) {
    if (!stopped_) on_log_durable(position);
  };
  log_env.on_fatal = [this](const Error& error) { env_.fatal(error); };
  CAIRN_TRY(log_, storage::SharedLog::open(log_env, join_path(options_.data_dir, "log/0"), options_.log, &recovery));
  log_damaged_ = recovery.suspect;
  if (recovery.suspect) {
    note(LogLevel::kError, "the log is damaged below what was acknowledged: " + recovery.damage);
  } else if (recovery.torn_tail) {
    note(LogLevel::kInfo, "the log had an unfinished tail, which was never acknowledged: cut off");
  }

  storage::TabletStore::Environment store_env;
  store_env.fs = env_.fs;
  store_env.background = env_.background;
  store_env.loop = env_.loop;
  store_env.clock = env_.clock;
  store_env.reader = env_.reader;
  store_env.cached_reader = env_.cached_reader;
  store_env.wait_log_durable = [this](RangeId, LogIndex, Task when_durable) {
    when_log_durable(std::move(when_durable));
  };
  store_env.on_no_space = [this] { return use_reserve(); };
  store_env.on_flushed = [this](RangeId range) {
    if (stopped_) return;
    if (Replica* replica = find_replica(range)) replica->compact_log(false);
    resume_writes();
    end_turn();
  };
  store_env.on_corruption = [this](RangeId range, const Error& error) { tablet_damaged(range, error); };
  store_env.on_fatal = [this](const Error& error) { env_.fatal(error); };
  options_.store.expiry = &row_expiry;
  CAIRN_TRY(store_, storage::TabletStore::open(store_env, join_path(options_.data_dir, "shard-0"),
                                               join_path(options_.data_dir, "sst"), snap_dir, options_.store));
  return recover_replicas(recovery);
}

// The end came between the snapshot's mark in the log and the manifest's edit. If the snapshot is damaged or gone, the
// log still is what it was, but the state it begins with is missing: the replica is damaged, and asks for another one.
Result<void> Node::install_again(RangeId range, const storage::RecoveredGroup& group) {
  const std::string dir = incoming_snapshot_dir(options_.data_dir, group.snapshot_id);
  const auto install = [&]() -> Result<void> {
    CAIRN_TRY(const std::string bytes, storage::read_file(*env_.fs, join_path(dir, "META")));
    const auto meta = SnapshotMeta::decode(bytes);
    if (!meta || meta->range != range) return Error{ErrorCode::kCorruption, dir + "/META is damaged"};
    return store_->install_now(range, dir, meta->manifest, meta->position);
  };
  const auto installed = install();
  if (installed) return {};
  const ErrorCode code = installed.error().code;
  if (code != ErrorCode::kCorruption && code != ErrorCode::kNotFound) return installed.error();
  storage::AppliedPosition position;
  position.index = group.start.index;
  position.term = group.start.ballot;
  return store_->condemn(range, position, installed.error());
}

// The log decides which replicas exist and what they hold; the manifest is brought in line before any tablet is used.
Result<void> Node::recover_replicas(storage::LogRecovery& recovery) {
  const std::string snap_dir = join_path(options_.data_dir, "snap");
  for (auto& [id, group] : recovery.groups) {
    if (group.tombstone.value != 0) tombstones_[id] = group.tombstone;
    if (group.descriptor.empty()) continue;
    const auto descriptor = sharding::decode_range_descriptor(group.descriptor);
    if (!descriptor) {
      return Error{ErrorCode::kCorruption, fmt::format("the create record of range {} is malformed", id.value)};
    }
    storage::Tablet* tablet = store_->find(id);
    if (group.snapshot_id != 0 && (tablet == nullptr || tablet->flushed().index < group.start.index)) {
      CAIRN_TRY_VOID(install_again(id, group));
    }
    CAIRN_TRY(tablet, store_->create(id));
    consensus::RecoveredState state;
    state.hard_state = {group.hard_state.term, group.hard_state.voted_for, group.hard_state.voted_incarnation,
                        group.hard_state.commit};
    state.start_index = group.start.index;
    state.start_term = group.start.ballot;
    if (!group.start.configuration.empty()) {
      const auto configuration = consensus::Configuration::decode(group.start.configuration);
      if (!configuration) {
        return Error{ErrorCode::kCorruption, fmt::format("the configuration of range {} is malformed", id.value)};
      }
      state.start_configuration = *configuration;
    } else {
      for (const auto& [node, replica] : descriptor->members)
        state.start_configuration.voters.push_back({node, replica});
    }
    for (storage::LogEntry& entry : group.entries) {
      state.entries.push_back({entry.index, entry.ballot, static_cast<consensus::EntryType>(entry.type), entry.time_ms,
                               std::move(entry.payload)});
    }
    state.applied = tablet->flushed().index;
    state.time_ms = tablet->flushed().time_ms;
    const LogIndex last = state.entries.empty() ? state.start_index : state.entries.back().index;
    state.suspect = group.suspect;
    state.damaged = tablet->stats().corrupt;
    if (state.applied > last || state.applied < state.start_index) {
      // The tablet and the log do not fit together: something acknowledged is missing.
      note(LogLevel::kError, fmt::format("range {}: tablet at {} does not fit the log {}..{}", id.value,
                                         state.applied.value, state.start_index.value, last.value));
      state.suspect = true;
      state.entries.clear();
      state.start_index = state.applied;
      state.start_term = tablet->flushed().term;
    }
    CAIRN_TRY_VOID(add_replica(*descriptor, group.replica, std::move(state)));
  }
  for (RangeId id : store_->tablets()) {
    if (replicas_.find(id) == replicas_.end())
      CAIRN_TRY_VOID(store_->drop(id));  // its create record never became durable
  }
  CAIRN_TRY(const auto leftovers, env_.fs->list(snap_dir));
  for (const std::string& name : leftovers) CAIRN_TRY_VOID(storage::remove_tree(*env_.fs, join_path(snap_dir, name)));
  return store_->collect_garbage();
}

Result<Replica*> Node::add_replica(const sharding::RangeDescriptor& range, ReplicaId id,
                                   consensus::RecoveredState state) {
  CAIRN_TRY(storage::Tablet * tablet, store_->create(range.id));
  // A damaged log may have held this replica: an empty one in its place would vote again and know nothing.
  state.suspect = state.suspect || log_damaged_;
  consensus::RaftOptions raft = options_.raft;
  // Promises of the last life may still hold; a directory that never had one owes nothing.
  raft.boot_silence = fresh_ ? 0 : options_.link.promise;
  auto core = consensus::make_raft(identity_.node, id, identity_.incarnation, raft, *this, *env_.random,
                                   env_.clock->now(), std::move(state));
  auto replica = std::make_unique<Replica>(static_cast<ReplicaHost&>(*this), range.id, id, identity_.node,
                                           encoded(range), std::move(core), *tablet, options_.replica);
  Replica* raw = replica.get();
  replicas_[range.id] = std::move(replica);
  raw->step(consensus::TimeReached{});
  return raw;
}

// Only by what group 0 has applied, idempotently, and never where the log knows a record or tombstone of the range.
Result<void> Node::create_replica(const sharding::RangeDescriptor& range) {
  const auto self = std::find_if(range.members.begin(), range.members.end(),
                                 [&](const auto& member) { return member.first == identity_.node; });
  if (self == range.members.end() || replicas_.find(range.id) != replicas_.end()) return {};
  if (const auto grave = tombstones_.find(range.id); grave != tombstones_.end() && grave->second >= self->second)
    return {};
  log_->create_group(range.id, self->second, encoded(range));
  consensus::RecoveredState state;
  for (const auto& [node, replica] : range.members) state.start_configuration.voters.push_back({node, replica});
  CAIRN_TRY(Replica * replica, add_replica(range, self->second, std::move(state)));
  touch(*replica);
  note(LogLevel::kInfo,
       fmt::format("range {}: replica created, slots {}-{}", range.id.value, range.first_slot, range.last_slot));
  return {};
}

void Node::reconcile_ranges() {
  if (!directory_loaded_) return;
  for (const auto& [id, range] : directory_.ranges()) {
    const bool existed = replicas_.find(id) != replicas_.end();
    if (const auto created = create_replica(range); !created) {
      if (created.error().code == ErrorCode::kNoSpace) continue;  // tried again at the next change or start
      env_.fatal(with_context(created.error(), fmt::format("creating the replica of range {}", id.value)));
      return;
    }
    // The advertised owner stands first: no election among equals at the start.
    Replica* replica = find_replica(id);
    if (!existed && replica != nullptr && directory_.owner(id) == identity_.node) {
      env_.loop->run_after(20 * kMillisecond, [this, alive = alive_, id = id] {
        if (!*alive || stopped_) return;
        Replica* replica = find_replica(id);
        if (replica != nullptr && replica->core().leader().value == 0) replica->step(consensus::Campaign{});
        end_turn();
      });
    }
  }
  by_slot_.assign(sharding::kSlots, nullptr);
  bool any = false;
  for (uint32_t slot = 0; slot < sharding::kSlots; ++slot) {
    const RangeId id = directory_.range_of_slot(static_cast<uint16_t>(slot));
    any = any || id.value != 0;
    by_slot_[slot] = id.value == 0 ? nullptr : find_replica(id);
  }
  if (!any) by_slot_.clear();
  forwarding_.route_all();
}

Result<void> Node::bootstrap() {
  identity_.node = {1};
  identity_.cluster.clear();
  for (int i = 0; i < 2; ++i) {
    const uint64_t word = env_.random->next();
    identity_.cluster.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  CAIRN_TRY_VOID(save_identity(*env_.fs, options_.data_dir, identity_));
  note(LogLevel::kInfo, fmt::format("cluster {} created", to_hex(identity_.cluster)));
  return adopt_identity();
}

void Node::try_join(size_t attempt) {
  JoinFrame join;
  join.uuid = identity_.uuid;
  join.addresses = options_.addresses;
  const std::string& address = options_.join[attempt % options_.join.size()];
  env_.data->call(address, join.encode(), [this, alive = alive_, attempt](Result<std::string> reply) {
    if (*alive && !stopped_) join_answered(std::move(reply), attempt);
  });
}

void Node::join_answered(Result<std::string> reply, size_t attempt) {
  const auto again = [&](std::string_view why) {
    if (attempt % 20 == 0) note(LogLevel::kInfo, fmt::format("joining: {}; trying again", why));
    env_.loop->run_after(50 * kMillisecond, [this, alive = alive_, attempt] {
      if (*alive && !stopped_) try_join(attempt + 1);
    });
  };
  if (!reply) return again(to_string(reply.error()));
  const auto answer = JoinReplyFrame::decode(*reply);
  if (!answer) return again("a malformed answer");
  if (answer->status == JoinReplyFrame::Status::kAskOther) {
    if (!answer->detail.empty() &&
        std::find(options_.join.begin(), options_.join.end(), answer->detail) == options_.join.end()) {
      options_.join.push_back(answer->detail);
    }
    return again("asked a node that does not lead the system range");
  }
  if (answer->status == JoinReplyFrame::Status::kRefused) {
    env_.fatal(Error{ErrorCode::kInvalidArgument, "joining was refused: " + answer->detail});
    return;
  }
  addresses_accepted_ = true;
  identity_.node = answer->node;
  identity_.cluster = answer->cluster;
  saved_peers_.clear();
  for (const auto& [id, address] : answer->peers) saved_peers_.push_back({id, address});
  const auto adopt = [&]() -> Result<void> {
    CAIRN_TRY_VOID(save_identity(*env_.fs, options_.data_dir, identity_));
    CAIRN_TRY_VOID(save_peers(*env_.fs, options_.data_dir, saved_peers_));
    return adopt_identity();
  };
  if (const auto adopted = adopt(); !adopted) {
    env_.fatal(adopted.error());
    return;
  }
  note(LogLevel::kInfo, fmt::format("joined cluster {} as node {}", to_hex(identity_.cluster), identity_.node.value));
  end_turn();
}

// From here on this node has a name: links, handshakes and its replica of the system range.
Result<void> Node::adopt_identity() {
  LinkDriver::Environment link_env{env_.clock, env_.link_loop, env_.loop, env_.links};
  links_ = std::make_unique<LinkDriver>(
      link_env, identity_.node, identity_.incarnation, options_.link, fresh_,
      [this](const PeerReport& report) { on_liveness(report); },
      [this] {
        // Records that wait for the disk for longer than two seconds mean that it stands still.
        return !log_ || log_->durable() >= log_->end() || env_.clock->now() < durable_moved_ + 2 * kSecond;
      },
      [this] { return store_ ? static_cast<uint64_t>(own_write_delay() * kPicoseconds) : 0; });
  durable_moved_ = env_.clock->now();
  if (on_identity) on_identity(identity_);
  if (find_replica(kSystemRange) == nullptr) {
    sharding::RangeDescriptor system;
    system.id = kSystemRange;
    system.keyspace = "system";
    if (identity_.node.value == 1)
      system.members = {{identity_.node, ReplicaId{1}}};  // the bootstrapped node is group 0
    const ReplicaId replica{identity_.node.value};        // nodes are never reused, and a node has one life in group 0
    log_->create_group(kSystemRange, replica, encoded(system));
    consensus::RecoveredState state;
    for (const auto& [node, id] : system.members) state.start_configuration.voters.push_back({node, id});
    CAIRN_TRY_VOID(add_replica(system, replica, std::move(state)));
  }
  update_peers();
  env_.link_loop->post([links = links_.get()] { links->start(); });
  load_directory();
  return {};
}

// The system range's rows as the tablet holds them; entries that are replayed meanwhile are newer.
void Node::load_directory() {
  directory_loaded_ = false;
  rows_since_load_.clear();
  storage::FetchRequest request;
  request.prefixes.push_back({});
  find_replica(kSystemRange)
      ->tablet()
      .fetch(std::move(request), [this, alive = alive_](Result<storage::FetchResult> rows) {
        if (!*alive || stopped_) return;
        if (!rows) {
          // A snapshot mends it, and it is read again.
          if (rows.error().code == ErrorCode::kCorruption) return;
          env_.fatal(with_context(rows.error(), "reading the system range"));
          return;
        }
        for (const auto& [key, value] : rows->prefixes.front()) {
          if (rows_since_load_.find(key) == rows_since_load_.end()) directory_.apply(key, value);
        }
        directory_loaded_ = true;
        rows_since_load_.clear();
        directory_changed();
        end_turn();
      });
}

void Node::snapshot_installed(Replica& replica) {
  note(LogLevel::kInfo, fmt::format("range {}: snapshot installed up to {}", replica.range().value,
                                    replica.tablet().applied().index.value));
  if (repairs_.erase(replica.range()) > 0) metrics_.repairs.add_owned();
  if (replica.range() == kSystemRange) {
    directory_.clear();
    load_directory();
  }
  end_turn();
}

void Node::applied(Replica& replica, std::string_view operations) {
  (void)replica;
  storage::BatchReader reader(operations);
  storage::Op op;
  bool changed = false;
  while (reader.next(op)) {
    if (op.kind != storage::OpKind::kPut && op.kind != storage::OpKind::kDelete) continue;
    if (!directory_loaded_) rows_since_load_.emplace(op.key);
    const auto value = op.kind == storage::OpKind::kPut ? std::optional(op.value) : std::nullopt;
    if (!directory_.apply(op.key, value)) {
      note(LogLevel::kWarn, "the system range holds a row this version cannot read");
    }
    changed = true;
  }
  if (!changed) return;
  // Posted: replicas are not created in the middle of a core's step.
  env_.loop->post([this, alive = alive_] {
    if (!*alive || stopped_) return;
    directory_changed();
    end_turn();
  });
}

void Node::directory_changed() {
  update_peers();
  follow_keyspace();
  reconcile_ranges();
}

// A node that was restarted with other addresses than group 0 has of it says so to one member after the other, until
// its record is right: they cannot reach it at the old ones. While it does not know its record it asks too, for its
// peers may be unable to tell it.
void Node::announce_addresses() {
  const auto self = directory_.nodes().find(identity_.node);
  const bool known = self != directory_.nodes().end();
  if (known ? self->second.addresses == options_.addresses : addresses_accepted_) return;
  if (!directory_loaded_ || now() < announce_at_) return;
  announce_at_ = now() + kAnnouncePause;
  JoinFrame frame;
  frame.uuid = identity_.uuid;
  frame.cluster = identity_.cluster;
  frame.addresses = options_.addresses;
  if (leads(kSystemRange)) return serve_join(frame, [](const Result<std::string>&) {});
  std::vector<std::string> members = options_.join;
  for (const PeerHint& peer : saved_peers_) members.push_back(peer.address);
  if (members.empty()) return;
  const std::string to =
      announce_to_.empty() ? members[announcements_++ % members.size()] : std::exchange(announce_to_, {});
  if (known) note(LogLevel::kInfo, fmt::format("announcing new addresses to {}", to));
  env_.data->call(to, frame.encode(), [this, alive = alive_](const Result<std::string>& reply) {
    if (!*alive || stopped_ || !reply) return;
    const auto answer = JoinReplyFrame::decode(*reply);
    if (!answer) return;
    if (answer->status == JoinReplyFrame::Status::kAskOther) announce_to_ = answer->detail;
    if (answer->status == JoinReplyFrame::Status::kAccepted) addresses_accepted_ = true;
  });
}

void Node::update_peers() {
  std::map<NodeId, std::string> addresses;
  for (const PeerHint& peer : saved_peers_) addresses[peer.node] = peer.address;
  for (const auto& [id, record] : directory_.nodes()) addresses[id] = record.addresses.peer;
  std::erase_if(announced_, [&](const auto& entry) { return addresses[entry.first] != entry.second.first; });
  for (const auto& [id, change] : announced_) addresses[id] = change.second;
  addresses.erase(identity_.node);
  std::vector<std::pair<NodeId, std::string>> peers(addresses.begin(), addresses.end());
  std::vector<PeerHint> hints;
  for (const auto& [id, address] : peers) {
    env_.data->set_address(id, address);
    hints.push_back({id, address});
  }
  if (links_) links_->set_peers(peers);
  const auto same = [](const PeerHint& a, const PeerHint& b) { return a.node == b.node && a.address == b.address; };
  if (!std::equal(hints.begin(), hints.end(), saved_peers_.begin(), saved_peers_.end(), same)) {
    saved_peers_ = std::move(hints);
    if (const auto saved = save_peers(*env_.fs, options_.data_dir, saved_peers_); !saved) {
      note(LogLevel::kWarn, "PEERS could not be written: " + to_string(saved.error()));  // a hint only
    }
  }
}

}  // namespace cairn::server
