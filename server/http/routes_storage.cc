// What this node's tablets look like on disk, what that costs, and writing them out or compacting them on request.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "server/http/admin_api.h"
#include "server/http/replica_calls.h"
#include "storage/compaction/strategy.h"

namespace cairn::server {
namespace {

using nlohmann::json;

constexpr Duration kWaitLimit = 8 * kSecond;  // below what the API gives a request
constexpr Duration kFlushLook = 10 * kMillisecond;
constexpr size_t kTablesShown = 10'000;  // of one answer

// Keys are the users'; those of rows are shown as hex, shortened.
std::string shown_key(std::string_view key) {
  constexpr size_t kBytes = 32;
  std::string out;
  for (const char c : key.substr(0, kBytes)) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return key.size() > kBytes ? out + "..." : out;
}

json run_json(std::span<const storage::SstableInfo> tables) {
  uint64_t bytes = 0, entries = 0, tombstones = 0;
  uint32_t level = tables.front().level;
  std::string_view smallest = tables.front().smallest, largest = tables.front().largest;
  for (const storage::SstableInfo& table : tables) {
    bytes += table.bytes;
    entries += table.entries;
    tombstones += table.tombstones;
    level = std::min(level, table.level);
    smallest = std::min<std::string_view>(smallest, table.smallest);
    largest = std::max<std::string_view>(largest, table.largest);
  }
  return {{"run", tables.front().run},
          {"level", level},
          {"files", tables.size()},
          {"bytes", bytes},
          {"entries", entries},
          {"tombstones", tombstones},
          {"smallest", shown_key(smallest)},
          {"largest", shown_key(largest)}};
}

// What the tablet's strategy picks for what is there, a compaction under way left aside.
json next_json(const Node& node, const std::vector<storage::SstableInfo>& tables, const storage::TabletStats& stats) {
  const auto strategy = storage::make_strategy(stats.strategy, node.options().store.compaction);
  const auto plan = strategy->pick({tables, {}, stats.applied.time_ms});
  if (!plan) return nullptr;
  uint64_t bytes = 0;
  for (const storage::SstableInfo& table : tables) {
    if (std::ranges::find(plan->inputs, table.id) != plan->inputs.end()) bytes += table.bytes;
  }
  constexpr std::string_view kKinds[] = {"merge", "move", "drop"};
  return {{"kind", kKinds[static_cast<size_t>(plan->kind)]},
          {"files", plan->inputs.size()},
          {"bytes", bytes},
          {"output_level", plan->output_level},
          {"cause", storage::to_string(plan->cause)},
          {"reason", plan->reason}};
}

json health_json(const storage::TabletHealth& health) {
  return {{"condition", storage::to_string(health.condition)},
          {"reason", health.reason},
          {"since_ms", health.since_ms},
          {"failures", health.failures}};
}

json levels_json(const Node& node, Replica& replica) {
  const std::vector<storage::SstableInfo> tables = replica.tablet().tables();
  const storage::TabletStats stats = replica.tablet().stats();
  const storage::TreeShape shape = replica.tablet().shape();
  json runs = json::array();
  std::map<uint32_t, std::pair<uint64_t, uint64_t>> levels;  // files, bytes
  for (auto begin = tables.begin(); begin != tables.end();) {
    const auto end = std::find_if(begin, tables.end(), [&](const auto& table) { return table.run != begin->run; });
    runs.push_back(run_json({begin, end}));
    begin = end;
  }
  for (const storage::SstableInfo& table : tables) {
    ++levels[table.level].first;
    levels[table.level].second += table.bytes;
  }
  json by_level = json::array();
  for (const auto& [level, sums] : levels) {
    by_level.push_back({{"level", level}, {"files", sums.first}, {"bytes", sums.second}});
  }
  return {{"range", replica.range().value},
          {"strategy", storage::to_string(stats.strategy)},
          {"memtable_bytes", stats.memtable_bytes},
          {"flushed", stats.flushed.index.value},
          {"applied", stats.applied.index.value},
          {"damage", stats.corruption},
          {"health", health_json(stats.health)},
          {"compacting", stats.compacting},
          {"full_compaction_at", stats.full_compaction_at},
          {"tier0_files", shape.tier0_tables},
          {"overlap_depth", shape.overlap_depth},
          {"pending_bytes", shape.pending_bytes},
          {"reshape_pending_bytes", shape.reshape_bytes},
          {"droppable_tombstones", shape.droppable_tombstones},
          {"expired_blocked", shape.expired_blocked},
          {"levels", std::move(by_level)},
          {"runs", std::move(runs)},
          {"next", next_json(node, tables, stats)}};
}

void levels(const AdminSources& s, const std::vector<Replica*>& replicas, const AdminDone& done) {
  uint64_t tables = 0;
  for (Replica* replica : replicas) tables += replica->tablet().stats().sstables;
  if (replicas.size() > 1 && tables > kTablesShown) {
    return done(Problem{.status = 400,
                        .detail = fmt::format("this node has {} tables: too many for one answer", tables),
                        .hint = "Ask range by range.",
                        .field = "range"}
                    .reply());
  }
  json list = json::array();
  for (Replica* replica : replicas) list.push_back(levels_json(*s.node, *replica));
  done(json_reply(list));
}

json amplification_json(const storage::Amplification& a) {
  return {{"write", a.write()},
          {"read", a.read()},
          {"space", a.space()},
          {"user_bytes", a.user_bytes},
          {"flushed_bytes", a.flushed_bytes},
          {"compacted_in_bytes", a.compacted_in_bytes},
          {"compacted_out_bytes", a.compacted_out_bytes},
          {"reads", a.reads},
          {"runs_probed", a.runs_probed},
          {"total_bytes", a.total_bytes},
          {"live_bytes", a.live_bytes},
          {"obsolete_bytes", a.total_bytes > a.live_bytes ? a.total_bytes - a.live_bytes : 0}};
}

void amplification(const AdminSources& s, const std::vector<Replica*>& replicas, const AdminDone& done) {
  storage::Amplification all;
  json ranges = json::array();
  for (Replica* replica : replicas) {
    const storage::TabletStats stats = replica->tablet().stats();
    all.add(stats.amplification);
    ranges.push_back({{"range", replica->range().value},
                      {"strategy", storage::to_string(stats.strategy)},
                      {"amplification", amplification_json(stats.amplification)}});
  }
  const storage::StoreGauges gauges = s.node->storage_gauges();
  done(json_reply({{"strategy", storage::to_string(s.node->compaction_strategy())},
                   {"recent_write", gauges.recent_write_amplification},
                   {"temp_bytes", gauges.temp_bytes},
                   {"compaction_bytes_per_second", gauges.compaction_bytes_per_second},
                   {"together", amplification_json(all)},
                   {"ranges", std::move(ranges)}}));
}

// Answers once everything that was applied when it was asked for lies in SSTables, or the limit has passed.
class Flush : public std::enable_shared_from_this<Flush> {
 public:
  Flush(const AdminSources& s, AdminDone done) : s_(s), done_(std::move(done)) {}

  void start(const std::vector<Replica*>& replicas) {
    end_ = s_.node->now() + kWaitLimit;
    for (Replica* replica : replicas) {
      const storage::TabletStats stats = replica->tablet().stats();
      bytes_ += stats.memtable_bytes;
      targets_[replica->range()] = stats.applied.index;
      replica->tablet().flush();
    }
    asked_ = targets_.size();
    look();
  }

 private:
  void look() {
    // A damaged tablet writes nothing; one that is gone has nothing to write.
    std::erase_if(targets_, [&](const auto& target) {
      const auto replica = s_.node->replicas().find(target.first);
      if (replica == s_.node->replicas().end()) return true;
      const storage::TabletStats stats = replica->second->tablet().stats();
      damaged_ += stats.corrupt ? 1 : 0;
      return stats.corrupt || stats.flushed.index >= target.second;
    });
    if (targets_.empty() || s_.node->now() >= end_) return finish();
    s_.range_executor->run_after(kFlushLook, [self = shared_from_this()] { self->look(); });
  }
  void finish() {
    const bool through = targets_.empty();
    done_(json_reply({{"complete", through && damaged_ == 0},
                      {"ranges", asked_},
                      {"ranges_left", targets_.size()},
                      {"ranges_damaged", damaged_},
                      {"memtable_bytes", bytes_}},
                     through ? 200 : 202));
  }

  const AdminSources& s_;
  const AdminDone done_;
  std::map<RangeId, LogIndex> targets_;  // still to be reached
  size_t asked_ = 0, damaged_ = 0;
  uint64_t bytes_ = 0;
  Instant end_ = 0;
};

void flush(const AdminSources& s, const std::vector<Replica*>& replicas, const AdminDone& done) {
  std::make_shared<Flush>(s, done)->start(replicas);
}

// Answers once what was there when it was asked for lies in as few runs as the strategy allows, or the limit has
// passed.
class FullCompaction : public std::enable_shared_from_this<FullCompaction> {
 public:
  FullCompaction(const AdminSources& s, AdminDone done) : s_(s), done_(std::move(done)) {}

  void start(const std::vector<Replica*>& replicas) {
    asked_ = left_ = replicas.size();
    for (Replica* replica : replicas) {
      bytes_ += replica->tablet().stats().sstable_bytes;
      replica->tablet().compact([self = shared_from_this()](Result<void> result) { self->ended(result); });
    }
    if (left_ == 0) return finish();
    s_.range_executor->run_after(kWaitLimit, [self = shared_from_this()] { self->finish(); });
  }

 private:
  void ended(const Result<void>& result) {
    --left_;
    if (!result) {
      ++failed_;
      error_ = to_string(result.error());
    }
    if (left_ == 0) finish();
  }
  void finish() {
    if (std::exchange(answered_, true)) return;
    done_(json_reply({{"complete", left_ + failed_ == 0},
                      {"ranges", asked_},
                      {"ranges_left", left_},
                      {"ranges_failed", failed_},
                      {"error", error_},
                      {"sstable_bytes", bytes_}},
                     left_ == 0 ? 200 : 202));
  }

  const AdminSources& s_;
  const AdminDone done_;
  size_t asked_ = 0, left_ = 0, failed_ = 0;
  std::string error_;  // of the last that failed
  uint64_t bytes_ = 0;
  bool answered_ = false;
};

void compact(const AdminSources& s, const std::vector<Replica*>& replicas, const AdminDone& done) {
  std::make_shared<FullCompaction>(s, done)->start(replicas);
}

}  // namespace

void add_storage_routes(RouteTable& table, const AdminSources& s) {
  table.push_back(
      {.method = "GET",
       .path = "/v1/storage/levels",
       .id = "getStorageLevels",
       .summary = "The sorted runs of this node's replicas, and what their strategy would compact next",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = replica_parameters(),
       .body = {},
       .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/StorageLevels"}})",
                    "Range by range; runs with the newest first"},
                   {404, kProblemJson, "Problem", "No replica of that range is here, or no such keyspace"}},
       .run = about_replicas(s, &levels)});
  table.push_back({.method = "GET",
                   .path = "/v1/storage/amplification",
                   .id = "getStorageAmplification",
                   .summary = "What keeping rows in sorted runs has cost this node's replicas since it started",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = replica_parameters(),
                   .body = {},
                   .answers = {{200, kJson, "StorageAmplification", "Range by range, and together"},
                               {404, kProblemJson, "Problem", "No replica of that range is here, or no such keyspace"}},
                   .run = about_replicas(s, &amplification)});
  table.push_back({.method = "POST",
                   .path = "/v1/storage/flush",
                   .id = "flushStorage",
                   .summary = "Writes the memtables of this node's replicas out",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = replica_parameters(),
                   .body = {},
                   .answers = {{200, kJson, "StorageFlush", "What was applied when this was asked lies in SSTables"},
                               {202, kJson, "StorageFlush", "Not all of it yet; it goes on"},
                               {404, kProblemJson, "Problem", "No replica of that range is here, or no such keyspace"}},
                   .run = about_replicas(s, &flush)});
  table.push_back(
      {.method = "POST",
       .path = "/v1/storage/compact",
       .id = "compactStorage",
       .summary = "Merges everything that this node's replicas hold into one sorted run each, or one per time window",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = replica_parameters(),
       .body = {},
       .answers = {{200, kJson, "StorageCompaction", "It is done"},
                   {202, kJson, "StorageCompaction", "Not all of it yet; it goes on"},
                   {404, kProblemJson, "Problem", "No replica of that range is here, or no such keyspace"}},
       .run = about_replicas(s, &compact)});
}

}  // namespace cairn::server
