// Of the storage engine on the metrics page.
#include "server/http/metrics_storage.h"

#include <fmt/format.h>

#include <algorithm>

namespace cairn::server {
namespace {

void add_amplification(MetricsText& page, const storage::Amplification& a) {
  page.counter("cairn_lsm_user_bytes_total", "Keys and values of the operations applied by this node's replicas.",
               number(a.user_bytes));
  page.counter("cairn_lsm_reads_total", "Lookups of rows that went beyond the memtables.", number(a.reads));
  page.counter("cairn_lsm_runs_probed_total", "Sorted runs searched by these.", number(a.runs_probed));
  page.gauge("cairn_lsm_sstable_bytes", "Bytes of SSTables.", number(a.total_bytes));
  page.gauge("cairn_lsm_obsolete_bytes", "Of them, what is estimated not to be live.",
             number(a.total_bytes - std::min(a.total_bytes, a.live_bytes)));
  page.gauge("cairn_lsm_live_bytes", "Estimate of what they would take without obsolete rows.", number(a.live_bytes));
  page.gauge("cairn_lsm_write_amplification", "Bytes written by flushes and compactions per byte of the users'.",
             a.write());
  page.gauge("cairn_lsm_read_amplification", "Sorted runs searched per lookup.", a.read());
  page.gauge("cairn_lsm_space_amplification", "Bytes of SSTables per live byte.", a.space());
}

void add_counts(MetricsText& page, const Node& node) {
  const auto& store = node.store_metrics();
  page.gauge("cairn_memory_bytes", "Memory by subsystem.", number(node.memtable_bytes()), "subsystem=\"memtables\"");
  page.counter("cairn_lsm_flushes_total", "Memtables flushed.", store.flushes);
  page.counter("cairn_lsm_compactions_total", "Compactions done.", store.compactions);
  page.histogram("cairn_lsm_flush_seconds", "Time of writing out one memtable.", store.flush_time.view());
  page.counter("cairn_lsm_flushed_bytes_total", "Bytes written by flushes.", store.bytes_flushed);
  page.counter("cairn_lsm_compaction_bytes_total", "Bytes of compactions.", store.bytes_compacted_in,
               "direction=\"read\"");
  page.counter("cairn_lsm_compaction_bytes_total", "", store.bytes_compacted_out, "direction=\"written\"");
  page.gauge("cairn_lsm_compaction_strategy_info", "By which the keyspace is compacted.", 1,
             fmt::format("keyspace=\"default\",strategy=\"{}\"", storage::to_string(node.compaction_strategy())));
  page.gauge("cairn_lsm_compression_info", "Of the keyspace's SSTables.", 1,
             fmt::format("keyspace=\"default\",compression=\"{}\"", storage::to_string(node.compression())));
  add_amplification(page, node.amplification());
  page.counter("cairn_lsm_disk_fetches_total", "Row fetches that went to the background.", store.disk_fetches);
  page.counter("cairn_lsm_corrupt_blocks_total", "Blocks whose checksum was wrong.", store.corrupt_blocks);
  page.counter("cairn_lsm_scrubs_total", "Complete passes over SSTables.", store.scrubs);
  page.counter("cairn_lsm_scrubbed_bytes_total", "Bytes of SSTables that scrubs have read.", store.scrubbed_bytes);
  page.counter("cairn_lsm_scrub_errors_total", "SSTables that scrubs found damaged or could not judge.",
               store.scrub_errors);
  page.gauge("cairn_lsm_scrub_end_timestamp_seconds",
             "When the newest complete scrub ended; 0: none was since the start.",
             number(node.scrub_status().ended_ms) / 1000);
  const storage::PacedDeleter& deleter = node.deleter();
  page.gauge("cairn_lsm_deletions_waiting", "Files that nobody needs any more and that are still to be unlinked.",
             number(deleter.waiting()));
  page.counter("cairn_lsm_deleted_files_total", "Files unlinked because nobody needed them.", deleter.removed());
  page.counter("cairn_lsm_deleted_bytes_total", "Bytes given back with them.", deleter.removed_bytes());
  page.counter("cairn_lsm_deletion_errors_total", "Files that could not be unlinked; the next start tries again.",
               deleter.failures());
  page.gauge("cairn_disk_has_room", "0 while writes are refused for want of space.", node.has_room() ? 1 : 0);
  page.gauge("cairn_disk_reserve_bytes", "Disk space kept back; 0 while it is in use because the disk is full.",
             number(node.reserve_bytes()));
  page.gauge("cairn_writes_flow", "0 while writes wait because flushes lag.", node.has_memory() ? 1 : 0);
}

void add_tree(MetricsText& page, const storage::StoreGauges& gauges) {
  const storage::TreeShape& tree = gauges.tree;
  page.gauge("cairn_lsm_pending_compaction_bytes", "Of SSTables that compactions still want to read.",
             number(tree.pending_bytes));
  page.gauge("cairn_lsm_reshape_pending_bytes", "Of these, what another strategy has left.",
             number(tree.reshape_bytes));
  page.gauge("cairn_lsm_tier0_files",
             "SSTables of level 0, of the newest size tier or of the newest window, by the strategy.",
             number(tree.tier0_tables));
  page.gauge("cairn_lsm_overlap_depth_max", "Most SSTables of a replica that may hold the same key.",
             number(tree.overlap_depth));
  page.gauge("cairn_lsm_droppable_tombstones", "Deletions and expired rows with nothing below that they hide.",
             number(tree.droppable_tombstones));
  page.gauge("cairn_lsm_expired_blockers", "SSTables of expired rows that cannot go: older rows lie below them.",
             number(tree.expired_blocked));
  page.gauge("cairn_lsm_temp_bytes", "Of SSTables that compactions under way have written.", number(gauges.temp_bytes));
  page.gauge("cairn_lsm_io_rate_bytes",
             "That compactions may move per second while reads from the device are waited for.",
             number(gauges.io_rate));
  page.gauge("cairn_lsm_io_limited", "1 while such reads are.", gauges.io_limited ? 1 : 0);
  page.gauge("cairn_lsm_recent_write_amplification",
             "Bytes written by flushes and compactions per byte of the users', over ten minutes.",
             gauges.recent_write_amplification);
  page.gauge("cairn_lsm_compaction_throughput_bytes",
             "Read and written per second in which a compaction ran, over ten minutes.",
             gauges.compaction_bytes_per_second);
}

void add_cache(MetricsText& page, const storage::StoreGauges& gauges) {
  for (const auto& [form, bytes] :
       {std::pair("packed", gauges.cache_packed_bytes), std::pair("unpacked", gauges.cache_unpacked_bytes)}) {
    page.gauge("cairn_lsm_cache_bytes", "Memory of the block cache, by the form in which its blocks lie there.",
               number(bytes), fmt::format("form=\"{}\"", form));
  }
}

void add_compactions(MetricsText& page, const Node& node) {
  const auto& store = node.store_metrics();
  page.counter("cairn_lsm_compaction_seconds_total", "Time in which compactions were under way.",
               number(store.compaction_ns.get()) * 1e-9);
  page.counter("cairn_lsm_io_waits_total", "Times that a compaction waited for its turn at the device.",
               store.io_waits);
  page.counter("cairn_lsm_io_wait_seconds_total", "Time of these waits.", number(store.io_wait_ns.get()) * 1e-9);
  for (const auto strategy : storage::kStrategyKinds) {
    for (const auto cause : storage::kCompactionCauses) {
      const auto& moved = store.moved[static_cast<size_t>(strategy)][static_cast<size_t>(cause)];
      // What there is from the start, for dashboards; the rest once there was any.
      const bool usual = strategy == node.compaction_strategy() && cause == storage::CompactionCause::kSize;
      if (!usual && moved.read.get() == 0 && moved.written.get() == 0) continue;
      const std::string labels =
          fmt::format("strategy=\"{}\",reason=\"{}\"", storage::to_string(strategy), storage::to_string(cause));
      page.counter("cairn_lsm_compaction_read_bytes_total", "Of SSTables that compactions have used up.", moved.read,
                   labels);
      page.counter("cairn_lsm_compaction_write_bytes_total", "Written by compactions.", moved.written, labels);
    }
  }
}

void add_stalls(MetricsText& page, const Node& node) {
  const auto& store = node.store_metrics();
  const NodeMetrics& metrics = node.metrics();
  for (const auto& [cause, count] :
       {std::pair("memory", &metrics.memory_stalls),
        std::pair("no_space", &store.stalls[static_cast<size_t>(storage::FlushStall::kNoSpace)]),
        std::pair("flush_error", &store.stalls[static_cast<size_t>(storage::FlushStall::kError)])}) {
    page.counter("cairn_lsm_stall_total", "Times that writes had to stop, by cause.", *count,
                 fmt::format("cause=\"{}\"", cause));
  }
  constexpr const char* kPaces[] = {"own", "followers"};
  for (size_t i = 0; i < std::size(kPaces); ++i) {
    const HistogramView waits = metrics.pace_waits[i].view();
    const std::string labels = fmt::format("cause=\"{}\"", kPaces[i]);
    page.counter("cairn_lsm_write_throttle_seconds_total", "Time in which writes waited to keep the pace of flushes.",
                 number(waits.sum_ns) * 1e-9, labels);
    page.histogram("cairn_lsm_write_throttle_wait_seconds", "One such wait.", waits, labels);
  }
}

void add_reads(MetricsText& page, const Node& node) {
  const auto& store = node.store_metrics();
  const auto& lookups = [&](const char* kind, const Counter& hits, const Counter& misses) {
    const std::string labels = fmt::format("kind=\"{}\"", kind);
    page.counter(
        "cairn_lsm_cache_hits_total",
        "Found, by where: single rows kept in front of the runs, data blocks in the block cache, or of those not "
        "there, in the kernel's memory.",
        hits, labels);
    page.counter("cairn_lsm_cache_misses_total", "Not found there.", misses, labels);
  };
  lookups("row", store.hot_row_hits, store.hot_row_misses);
  lookups("block", store.cache_hits, store.cache_misses);
  lookups("page", store.page_hits, store.page_misses);
  page.counter("cairn_lsm_cache_packed_hits_total",
               "Of the hits in the block cache: blocks that lie there as they are stored.", store.cache_packed_hits);
  page.counter("cairn_lsm_filter_true_positive_total", "Runs that a filter let a lookup search, and had the key.",
               store.filter_true_positives);
  page.counter("cairn_lsm_filter_false_positive_total", "And had it not.", store.filter_false_positives);
  page.counter("cairn_lsm_filter_negative_total", "Runs that a filter ruled out.", store.filter_negatives);
  page.histogram("cairn_lsm_read_runs_touched", "Sorted runs that a lookup searched which went beyond the memtables.",
                 store.runs_touched);
}

}  // namespace

void add_storage_metrics(MetricsText& page, Node& node) {
  add_counts(page, node);
  const storage::StoreGauges gauges = node.storage_gauges();
  add_tree(page, gauges);
  add_cache(page, gauges);
  add_compactions(page, node);
  add_stalls(page, node);
  add_reads(page, node);
}

}  // namespace cairn::server
