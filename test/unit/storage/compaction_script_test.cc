// Runs test/data/compaction/*.txt. With CAIRN_REWRITE=1 the expected answers are written anew.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "storage/compaction/tree_shape.h"

namespace cairn::storage {
namespace {

uint64_t parse_size(const std::string& text) {
  char* end = nullptr;
  const uint64_t n = std::strtoull(text.c_str(), &end, 10);
  const std::string unit = end;
  return unit.starts_with("KiB") ? n << 10 : unit.starts_with("MiB") ? n << 20 : n << 30;
}

uint64_t number(const std::string& word) { return std::stoull(word.substr(word.find('=') + 1)); }

// Of a word like r9:10MiB or
// r9.3:10MiB,level=2,keys=a-c,time=100-200,rows=100,tombstones=5,dense=4,passed=9,left=30,dead=300,busy: run 9, table 3
// of it. Tables without keys span all of them, as tables of a hash keyspace do. `new`: came after the request that
// `pick full` is about.
SstableInfo parse_table(const std::string& word, std::vector<uint64_t>& busy, std::vector<uint64_t>& asked) {
  SstableInfo info;
  std::istringstream parts(word);
  std::string part;
  std::getline(parts, part, ',');
  info.run = std::stoull(part.substr(1));
  const size_t dot = part.find('.'), colon = part.find(':');
  info.id = info.run * (dot < colon ? 100 : 1) + (dot < colon ? std::stoull(part.substr(dot + 1)) : 0);
  info.bytes = parse_size(part.substr(colon + 1));
  info.entries = 100;
  info.smallest = "a";
  info.largest = "z";
  asked.push_back(info.id);
  while (std::getline(parts, part, ',')) {
    if (part == "new") asked.pop_back();
    info.trimmed = info.trimmed || part == "trimmed";
    const std::string value = part.substr(part.find('=') + 1);
    const size_t dash = value.find('-');
    if (part == "busy") busy.push_back(info.id);
    if (part.starts_with("level=")) info.level = static_cast<uint32_t>(number(part));
    if (part.starts_with("left=")) {
      info.trimmed = true;
      info.dead_bytes = info.bytes * number(part) / 100;
    }
    if (part.starts_with("passed=")) info.passed = number(part);
    if (part.starts_with("rows=")) info.entries = number(part);
    if (part.starts_with("tombstones=")) info.tombstones = number(part);
    if (part.starts_with("dense=")) info.tombstones = info.dense_tombstones = number(part);
    if (part.starts_with("dead=")) {
      info.dead_from_ms = info.min_expiry_ms = info.max_expiry_ms = number(part);
      info.expiring = info.entries - info.tombstones;
    }
    if (part.starts_with("keys=")) {
      info.smallest = value.substr(0, dash);
      info.largest = value.substr(dash + 1);
    }
    if (part.starts_with("time=")) {
      info.min_time_ms = std::stoull(value.substr(0, dash));
      info.max_time_ms = dash == value.npos ? info.min_time_ms : std::stoull(value.substr(dash + 1));
    }
  }
  info.span_begin = info.smallest;
  info.span_end = info.largest + '\0';
  return info;
}

// measure STRATEGY: what measure_tree() says of the same.
// pick [full] STRATEGY [now=MS] [min=N] [max=N] [goal=X] [free=SIZE]; sizes of a real engine, windows of 1000 ms, no
// grace.
std::string answer(const std::string& command, const std::string& input) {
  CompactionOptions options;
  options.twcs.window_ms = 1000;
  options.twcs.grace_ms = 0;
  options.tombstones.interval_ms = 1000;
  std::istringstream words(command);
  std::string word, name;
  words >> word >> name;
  const bool measured = word == "measure";
  const bool full = name == "full";
  if (full) words >> name;
  const auto kind = parse_strategy_kind(name);
  if (!kind) return "no such strategy\n";
  uint64_t now_ms = 0, free_bytes = ~0ull;
  while (words >> word) {
    if (word.starts_with("now=")) now_ms = number(word);
    if (word.starts_with("free=")) free_bytes = parse_size(word.substr(5));
    for (SizeTieredOptions* tiered : {&options.stcs, static_cast<SizeTieredOptions*>(&options.ics)}) {
      if (word.starts_with("min=")) tiered->min_threshold = static_cast<uint32_t>(number(word));
      if (word.starts_with("max=")) tiered->max_threshold = static_cast<uint32_t>(number(word));
      if (word.starts_with("goal=")) tiered->space_goal = std::stod(word.substr(5));
    }
  }
  if (auto valid = options.validate(); !valid) return valid.error().message + "\n";
  std::vector<SstableInfo> tables;
  std::vector<uint64_t> busy, asked;
  std::istringstream runs(input);
  while (runs >> word) tables.push_back(parse_table(word, busy, asked));
  std::ranges::sort(asked);
  const LsmView view{tables, busy, now_ms, free_bytes};
  if (measured) {
    const TreeShape shape = measure_tree(view, *make_strategy(*kind, options));
    return "pending " + std::to_string(shape.pending_bytes >> 20) + " MiB, tier 0 " +
           std::to_string(shape.tier0_tables) + " tables, depth " + std::to_string(shape.overlap_depth) +
           ", droppable " + std::to_string(shape.droppable_tombstones) + ", blocked " +
           std::to_string(shape.expired_blocked) + "\n";
  }
  const auto plan = full ? pick_full(view, asked, *kind, options) : make_strategy(*kind, options)->pick(view);
  if (!plan) return "nothing\n";
  constexpr const char* kVerbs[] = {"compact", "move", "drop"};
  std::string out = kVerbs[static_cast<size_t>(plan->kind)];
  for (const uint64_t id : plan->inputs) out += " " + std::to_string(id);
  if (plan->kind != CompactionPlan::Kind::kDrop) {
    out += " to run " + std::to_string(plan->output_run);
    if (plan->output_level != 0) out += " level " + std::to_string(plan->output_level);
  }
  return out + ": " + plan->reason + " (" + std::string(to_string(plan->cause)) + ")\n";
}

void run_script(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file);
  std::string rewritten, line, command, input;
  size_t cases = 0;
  while (std::getline(file, line)) {
    rewritten += line + "\n";
    if (line.starts_with("pick") || line.starts_with("measure")) {
      command = line;
      input.clear();
    } else if (line == "----") {
      std::string expected;
      while (std::getline(file, line) && !line.empty()) expected += line + "\n";
      const std::string got = answer(command, input);
      INFO(path << ": " << command << " " << input);
      ++cases;
      if (std::getenv("CAIRN_REWRITE") == nullptr) CHECK(got == expected);
      rewritten += got;
      if (line.empty() && file) rewritten += "\n";
    } else {
      input += line + " ";
    }
  }
  CHECK(cases > 5);
  if (std::getenv("CAIRN_REWRITE") != nullptr) std::ofstream(path) << rewritten;
}

}  // namespace

TEST_CASE("a compaction on request takes what its script says") {
  run_script(std::string(CAIRN_TEST_DATA) + "/compaction/full.txt");
}

TEST_CASE("every strategy picks what its script says") {
  for (const StrategyKind kind : kStrategyKinds) {
    run_script(std::string(CAIRN_TEST_DATA) + "/compaction/" + std::string(to_string(kind)) + ".txt");
  }
}

}  // namespace cairn::storage
