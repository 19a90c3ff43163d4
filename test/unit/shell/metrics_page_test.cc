// The page of /metrics against the rules of the Prometheus text format.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "server/http/admin_api.h"
#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;

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
  CHECK(families.size() > 40);
}
