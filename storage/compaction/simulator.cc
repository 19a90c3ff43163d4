#include "storage/compaction/simulator.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace cairn::storage {
namespace {

constexpr std::array<std::string_view, 5> kNames{"uniform", "zipf", "insert", "delete", "ttl"};
constexpr uint64_t kRunStep = 1u << 16;  // as tablets number their runs
constexpr int kReadsPerFlush = 8;

// A permutation of the 32-bit numbers: keys that come in no order.
uint32_t shuffled(uint32_t n) {
  n = (n ^ (n >> 16)) * 0x7FEB352Du;
  n = (n ^ (n >> 15)) * 0x846CA68Bu;
  return n ^ (n >> 16);
}

}  // namespace

std::string_view to_string(Workload workload) { return kNames[static_cast<size_t>(workload)]; }

std::string simulated_key(uint32_t key) {
  std::string text(8, '0');
  for (size_t i = 0; i < 8; ++i) text[i] = "0123456789abcdef"[(key >> (28 - 4 * i)) & 15];
  return text;
}

// By inversion: the share of the first i keys is about ln(i) / ln(n).
uint32_t WorkloadSource::zipf() {
  const double share = static_cast<double>(random_.below(1u << 30)) / (1u << 30);
  return static_cast<uint32_t>(
             std::min<double>(std::pow(static_cast<double>(keys_), share), static_cast<double>(keys_))) -
         1;
}

SimulatedWrite WorkloadSource::next() {
  ++now_ms_;
  SimulatedWrite write;
  switch (workload_) {
    case Workload::kUniform: write.key = static_cast<uint32_t>(random_.below(keys_)); break;
    case Workload::kZipf: write.key = zipf(); break;
    case Workload::kDelete:
      write.key = static_cast<uint32_t>(random_.below(keys_));
      write.deletes = random_.chance(0.5);
      break;
    case Workload::kTtl: write.expiry_ms = now_ms_ + keys_; [[fallthrough]];
    case Workload::kInsert: write.key = static_cast<uint32_t>(now_ms_); break;
  }
  write.key = shuffled(write.key);
  return write;
}

CompactionOptions scaled(const CompactionOptions& options, uint64_t memtable_bytes, uint64_t window_ms) {
  const double by = static_cast<double>(memtable_bytes) / (64u << 20);
  const auto scale = [&](uint64_t& bytes) { bytes = static_cast<uint64_t>(static_cast<double>(bytes) * by); };
  CompactionOptions out = options;
  for (SizeTieredOptions* tiered : {&out.stcs, static_cast<SizeTieredOptions*>(&out.ics)}) {
    scale(tiered->min_run_bytes);
    scale(tiered->table_bytes_max);
  }
  scale(out.lcs.base_bytes);
  scale(out.lcs.table_bytes_max);
  scale(out.twcs.table_bytes_max);
  out.twcs.window_ms = window_ms;
  out.twcs.grace_ms = window_ms / 100;
  out.tombstones.interval_ms = 32 * window_ms;
  return out;
}

CompactionSimulator::CompactionSimulator(const SimulatorOptions& options)
    : options_(options), strategy_(make_strategy(options.strategy, options.compaction)) {}

void CompactionSimulator::write(const SimulatedWrite& write, uint64_t now_ms) {
  const uint64_t window = strategy_->window_ms();
  if (window != 0 && !memtable_.empty() && now_ms / window != now_ms_ / window) flush();
  now_ms_ = now_ms;
  expire();
  const Row row{write.key, write.deletes, write.expiry_ms, now_ms};
  user_bytes_ += write.deletes ? options_.delete_bytes : options_.put_bytes;
  memtable_.insert_or_assign(write.key, row);
  const auto [place, fresh] = live_.try_emplace(write.key, !write.deletes);
  if (fresh) {
    live_rows_ += write.deletes ? 0 : 1;
    keys_seen_.push_back(write.key);
  } else if (place->second == write.deletes) {
    place->second = !write.deletes;
    live_rows_ += write.deletes ? ~0ull : 1;
  }
  if (write.expiry_ms != 0) expiries_.emplace_back(write.expiry_ms, write.key);
  if (memtable_.size() >= options_.memtable_rows) flush();
}

// Loads with expiries write every key once.
void CompactionSimulator::expire() {
  for (; !expiries_.empty() && expiries_.front().first <= now_ms_; expiries_.pop_front()) {
    live_.erase(expiries_.front().second);
    --live_rows_;
  }
}

void CompactionSimulator::flush() {
  if (memtable_.empty()) return;
  ++flushes_;
  Rows rows;
  for (const auto& [key, row] : memtable_) rows.push_back(row);
  memtable_.clear();
  const uint64_t run = infos_.empty() ? kRunStep : infos_.front().run + kRunStep;
  auto tables = cut(std::move(rows), run, 0, ~0ull);
  for (const auto& table : tables) written_bytes_ += table.bytes;
  insert(std::move(tables));
  compact();
  sample();
}

void CompactionSimulator::compact() {
  while (auto plan = strategy_->pick({infos_, {}, now_ms_})) apply(*plan);
}

void CompactionSimulator::apply(const CompactionPlan& plan) {
  std::vector<SstableInfo> inputs, outputs;
  for (const auto& info : infos_) {
    if (std::ranges::find(plan.inputs, info.id) != plan.inputs.end()) inputs.push_back(info);
  }
  if (plan.kind == CompactionPlan::Kind::kMerge) {
    uint64_t oldest_run = 0;
    Rows rows = merged(plan.inputs, oldest_run);
    purge(rows, oldest_run);
    outputs = cut(std::move(rows), plan.output_run, plan.output_level, plan.output_table_bytes_max);
    take_space(plan, inputs, outputs);
  }
  std::erase_if(infos_, [&](const auto& info) { return std::ranges::find(plan.inputs, info.id) != plan.inputs.end(); });
  for (auto& info : inputs) {
    total_bytes_ -= info.bytes;
    if (plan.kind == CompactionPlan::Kind::kMove) {
      info.run = plan.output_run;
      info.level = plan.output_level;
      insert({info});
    } else {
      rows_.erase(info.id);
    }
  }
  insert(std::move(outputs));
}

// The newest version of every key of the inputs.
CompactionSimulator::Rows CompactionSimulator::merged(const std::vector<uint64_t>& inputs, uint64_t& oldest_run) const {
  Rows all;
  Rows run;
  uint64_t number = ~0ull;
  const auto add_run = [&] {
    Rows both;
    both.reserve(all.size() + run.size());
    auto newer = all.begin();
    for (const Row& row : run) {
      while (newer != all.end() && newer->key < row.key) both.push_back(*newer++);
      if (newer == all.end() || newer->key != row.key) both.push_back(row);
    }
    both.insert(both.end(), newer, all.end());
    all.swap(both);
    run.clear();
  };
  for (const auto& info : infos_) {
    if (std::ranges::find(inputs, info.id) == inputs.end()) continue;
    if (info.run != number) add_run();
    oldest_run = number = info.run;
    const Rows& rows = rows_.at(info.id);
    run.insert(run.end(), rows.begin(), rows.end());
  }
  add_run();
  return all;
}

void CompactionSimulator::purge(Rows& rows, uint64_t oldest_run) const {
  for (Row& row : rows) {
    if (row.expiry_ms == 0 || row.expiry_ms > now_ms_) continue;
    row.deletes = true;
    row.expiry_ms = 0;
  }
  std::erase_if(rows, [&](const Row& row) { return row.deletes && !older_may_hold(row.key, oldest_run); });
}

bool CompactionSimulator::older_may_hold(uint32_t key, uint64_t oldest_run) const {
  const std::string text = simulated_key(key);
  for (size_t i = infos_.size(); i-- > 0 && infos_[i].run < oldest_run;) {
    if (text < infos_[i].smallest || text > infos_[i].largest) continue;
    if (std::ranges::binary_search(rows_.at(infos_[i].id), key, {}, &Row::key)) return true;
  }
  return false;
}

std::vector<SstableInfo> CompactionSimulator::cut(Rows rows, uint64_t run, uint32_t level, uint64_t bytes_max) {
  std::vector<SstableInfo> tables;
  uint64_t block_bytes = 0, block_rows = 0, block_tombstones = 0;
  const auto end_block = [&] {
    if (is_dense(block_rows, block_tombstones)) tables.back().dense_tombstones += block_tombstones;
    block_bytes = block_rows = block_tombstones = 0;
  };
  for (const Row& row : rows) {
    if (!tables.empty() && (block_bytes >= options_.block_bytes || tables.back().bytes >= bytes_max)) end_block();
    if (tables.empty() || tables.back().bytes >= bytes_max) {
      SstableInfo& fresh = tables.emplace_back();
      fresh.id = next_id_++;
      fresh.run = run;
      fresh.level = level;
      fresh.smallest = fresh.span_begin = simulated_key(row.key);
      fresh.min_time_ms = row.time_ms;
      fresh.bytes = options_.table_bytes;
    }
    SstableInfo& info = tables.back();
    rows_[info.id].push_back(row);
    info.bytes += bytes_of(row);
    info.min_time_ms = std::min(info.min_time_ms, row.time_ms);
    info.max_time_ms = std::max(info.max_time_ms, row.time_ms);
    ++info.entries;
    info.tombstones += row.deletes ? 1 : 0;
    block_bytes += bytes_of(row);
    ++block_rows;
    block_tombstones += row.deletes ? 1 : 0;
    if (row.expiry_ms != 0) {
      info.min_expiry_ms = info.expiring == 0 ? row.expiry_ms : std::min(info.min_expiry_ms, row.expiry_ms);
      info.max_expiry_ms = std::max(info.max_expiry_ms, row.expiry_ms);
      ++info.expiring;
    }
  }
  if (!tables.empty()) end_block();
  for (SstableInfo& info : tables) {
    info.largest = simulated_key(rows_[info.id].back().key);
    info.span_end = info.largest + '\0';
    if (info.tombstones + info.expiring == info.entries) info.dead_from_ms = info.max_expiry_ms;
  }
  return tables;
}

// Without trimming all inputs stay until the last output is there; with it a file goes once its last key is written.
void CompactionSimulator::take_space(const CompactionPlan& plan, const std::vector<SstableInfo>& inputs,
                                     const std::vector<SstableInfo>& outputs) {
  uint64_t written = 0, temp = 0;
  for (const auto& output : outputs) {
    written += output.bytes;
    uint64_t gone = 0;  // before this one is committed
    for (const auto& input : inputs) gone += plan.incremental && input.largest < output.smallest ? input.bytes : 0;
    temp = std::max(temp, written - std::min(written, gone));
  }
  written_bytes_ += written;
  temp_peak_ = std::max(temp_peak_, temp);
  const auto live = static_cast<double>(std::max(live_bytes(), options_.row_bytes));
  space_peak_ = std::max(space_peak_, static_cast<double>(total_bytes_ + temp) / live);
  largest_job_ = std::max(largest_job_, static_cast<double>(written) / live);
}

void CompactionSimulator::insert(std::vector<SstableInfo> tables) {
  for (const auto& info : tables) total_bytes_ += info.bytes;
  if (tables.empty()) return;
  const auto place = std::ranges::lower_bound(infos_, tables.front(), [](const auto& a, const auto& b) {
    return a.run != b.run ? a.run > b.run : a.smallest < b.smallest;
  });
  infos_.insert(place, std::make_move_iterator(tables.begin()), std::make_move_iterator(tables.end()));
}

void CompactionSimulator::sample() {
  if (live_rows_ == 0) return;
  const auto total = static_cast<double>(total_bytes_), live = static_cast<double>(live_bytes());
  ++samples_;
  space_sum_ += total / live;
  space_peak_ = std::max(space_peak_, total / live);
  obsolete_sum_ += std::max(0.0, total - live);
  for (int i = 0; i < kReadsPerFlush; ++i) {
    const std::string key = simulated_key(keys_seen_[random_.below(keys_seen_.size())]);
    uint64_t runs = 0;
    for (const auto& info : infos_) runs += key >= info.smallest && key <= info.largest ? 1 : 0;
    ++reads_;
    runs_read_ += runs;
    runs_read_max_ = std::max(runs_read_max_, runs);
  }
}

void CompactionSimulator::reset_measures() {
  user_bytes_ = written_bytes_ = samples_ = reads_ = runs_read_ = runs_read_max_ = temp_peak_ = 0;
  space_sum_ = space_peak_ = obsolete_sum_ = largest_job_ = 0;
}

SimulatorResult CompactionSimulator::result() const {
  const auto per = [](double sum, uint64_t n) { return n == 0 ? 0 : sum / static_cast<double>(n); };
  return {.write_amp = per(static_cast<double>(written_bytes_), user_bytes_),
          .read_runs_mean = per(static_cast<double>(runs_read_), reads_),
          .read_runs_max = static_cast<double>(runs_read_max_),
          .space_amp_mean = per(space_sum_, samples_),
          .space_amp_peak = space_peak_,
          .temp_bytes_peak = temp_peak_,
          .obsolete_bytes_mean = per(obsolete_sum_, samples_),
          .largest_job = largest_job_,
          .live_bytes = live_bytes()};
}

SimulatorResult simulate(const SimulatorOptions& options, Workload workload, uint64_t keys, uint64_t seed) {
  WorkloadSource source(workload, keys, seed);
  CompactionSimulator simulator(options);
  for (uint64_t n = 0; n < source.end(); ++n) {
    if (n == source.warm_up()) simulator.reset_measures();
    const SimulatedWrite write = source.next();
    simulator.write(write, source.now_ms());
  }
  return simulator.result();
}

}  // namespace cairn::storage
