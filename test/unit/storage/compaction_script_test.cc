// Runs test/data/compaction/*.txt. With CAIRN_REWRITE=1 the expected answers are written anew.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "storage/compaction/strategy.h"

namespace cairn::storage {
namespace {

uint64_t parse_size(const std::string& text) {
  char* end = nullptr;
  const uint64_t n = std::strtoull(text.c_str(), &end, 10);
  const std::string unit = end;
  return unit.starts_with("KiB") ? n << 10 : unit.starts_with("MiB") ? n << 20 : n << 30;
}

std::string answer(const std::string& command, const std::string& input) {
  SizeTieredOptions options;
  std::istringstream words(command);
  for (std::string word; words >> word;) {
    if (word.starts_with("min=")) options.min_threshold = static_cast<uint32_t>(std::stoul(word.substr(4)));
    if (word.starts_with("max=")) options.max_threshold = static_cast<uint32_t>(std::stoul(word.substr(4)));
  }
  if (auto valid = options.validate(); !valid) return valid.error().message + "\n";
  std::vector<SstableInfo> tables;
  std::vector<uint64_t> busy;
  std::istringstream runs(input);
  for (std::string word; runs >> word;) {
    SstableInfo& info = tables.emplace_back();
    info.id = info.run = std::stoull(word.substr(1));
    info.bytes = parse_size(word.substr(word.find(':') + 1));
    if (word.ends_with(",busy")) busy.push_back(info.id);
  }
  const auto plan = make_size_tiered(options)->pick({tables, busy, 0});
  if (!plan) return "nothing\n";
  std::string out = "compact";
  for (const uint64_t id : plan->inputs) out += " " + std::to_string(id);
  return out + ": " + plan->reason + "\n";
}

}  // namespace

TEST_CASE("size-tiered picks are those of the script") {
  const std::string path = std::string(CAIRN_TEST_DATA) + "/compaction/stcs.txt";
  std::ifstream file(path);
  REQUIRE(file);
  std::string rewritten, line, command, input;
  size_t cases = 0;
  while (std::getline(file, line)) {
    rewritten += line + "\n";
    if (line.starts_with("pick")) {
      command = line;
      input.clear();
    } else if (line == "----") {
      std::string expected;
      while (std::getline(file, line) && !line.empty()) expected += line + "\n";
      const std::string got = answer(command, input);
      INFO(command << " " << input);
      ++cases;
      if (std::getenv("CAIRN_REWRITE") == nullptr) CHECK(got == expected);
      rewritten += got;
      if (line.empty() && file) rewritten += "\n";
    } else {
      input += line + " ";
    }
  }
  CHECK(cases > 8);
  if (std::getenv("CAIRN_REWRITE") != nullptr) std::ofstream(path) << rewritten;
}

}  // namespace cairn::storage
