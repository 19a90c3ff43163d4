// The page of /metrics against the rules of the Prometheus text format.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "server/http/admin_api.h"
#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;

namespace {

// Families that the documents name in full, and those of the table in compaction.md, which leaves the beginning out.
std::set<std::string> documented_metrics() {
  std::set<std::string> names;
  const auto add_all = [&](const std::string& text, const std::regex& name, const std::string& before) {
    for (std::sregex_iterator m(text.begin(), text.end(), name), end; m != end; ++m)
      names.insert(before + (*m)[1].str());
  };
  const std::filesystem::path docs = std::filesystem::path(CAIRN_TEST_DATA) / "../../docs";
  for (const auto& page : std::filesystem::recursive_directory_iterator(docs)) {
    if (page.path().extension() != ".md") continue;
    std::ifstream in(page.path());
    bool table = false;
    for (std::string line; std::getline(in, line);) {
      add_all(line, std::regex("`(cairn_[a-z0-9_]+[a-z0-9])(?:\\{[^`]*)?[`,]"), "");
      table = line.starts_with("| `cairn_lsm_...`") || (table && line.starts_with("|"));
      if (table && !line.starts_with("| `cairn_lsm_...`")) {
        add_all(line.substr(0, line.find('|', 1)), std::regex("`([a-z0-9_]+)`"), "cairn_lsm_");
      }
    }
  }
  names.erase("cairn_library");                         // of CMake
  names.erase("cairn_consensus_follower_lag_entries");  // of leaders with followers; this node is alone
  REQUIRE(names.size() > 50);
  return names;
}

}  // namespace

TEST_CASE("every family of /metrics stands once, with its samples together") {
  test::NodeHarness nodes;
  NodeOptions options = test::NodeHarness::options("one");
  options.bootstrap = true;
  test::HarnessNode& node = nodes.start(options);
  REQUIRE(nodes.run_until([&] { return node.node->ready(nullptr); }));

  RealClock clock;
  EventLoop loop(clock);
  CommandStats stats;
  const auto log = [](LogLevel, std::string_view) {};
  PeerTransport data(loop, "", log), link(loop, "", log);
  ClientServer clients(loop, *node.node, &stats, {});
  AdminSources sources;
  sources.node = node.node.get();
  sources.clients = &clients;
  sources.data_net = &data;
  sources.link_net = &link;
  sources.loop = &loop;
  sources.stats = &stats;
  const std::string page = metrics_page(sources, host_facts("/"));

  const std::regex help("# HELP (cairn_[a-z0-9_]+) (.+)");
  const std::regex type("# TYPE (cairn_[a-z0-9_]+) (counter|gauge|histogram)");
  const std::regex sample("(cairn_[a-z0-9_]+)(\\{[a-z]+=\"[^\"\\\\]*\"(?:,[a-z]+=\"[^\"\\\\]*\")*\\})? (\\S+)");
  std::set<std::string> families, series;
  std::map<std::string, double> last_bucket;
  std::string family, kind;
  bool typed = false;
  REQUIRE(page.ends_with('\n'));
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    std::smatch m;
    if (std::regex_match(line, m, help)) {
      family = m[1];
      REQUIRE(families.insert(family).second);  // HELP once, and nothing of it before or elsewhere
      typed = false;
    } else if (std::regex_match(line, m, type)) {
      REQUIRE(m[1] == family);
      REQUIRE_FALSE(typed);
      typed = true;
      kind = m[2];
    } else {
      REQUIRE(std::regex_match(line, m, sample));
      REQUIRE(typed);
      const std::string name = m[1];
      if (kind == "histogram") {
        REQUIRE((name == family + "_bucket" || name == family + "_sum" || name == family + "_count"));
      } else {
        REQUIRE(name == family);
      }
      REQUIRE(series.insert(name + m[2].str()).second);
      const std::string number = m[3];
      size_t used = 0;
      const double value = std::stod(number, &used);
      REQUIRE(used == number.size());
      REQUIRE(std::isfinite(value));
      if (name == family + "_bucket") {
        REQUIRE(value >= last_bucket[family]);
        last_bucket[family] = value;
      }
      if (name == family + "_count") REQUIRE(value == last_bucket[family]);
    }
  }
  CHECK(series.contains("cairn_peer_frames_sent_total{transport=\"data\"}"));
  CHECK(series.contains("cairn_peer_frames_sent_total{transport=\"link\"}"));
  CHECK(series.contains("cairn_node_ready"));
  CHECK(series.contains("cairn_lsm_cache_bytes{form=\"packed\"}"));
  CHECK(series.contains("cairn_lsm_cache_bytes{form=\"unpacked\"}"));
  CHECK(families.size() > 40);
  for (const std::string& name : documented_metrics()) {
    INFO(name << " stands in docs/");
    CHECK(families.contains(name));
  }
}
