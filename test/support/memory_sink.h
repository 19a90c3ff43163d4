// A CommandSink that is a whole one-node database in memory. Replies can be made to come late and out of
// order.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "server/cluster/keyspace_walk.h"
#include "server/commands/command.h"
#include "server/session/command_sink.h"
#include "server/session/hub.h"
#include "server/session/info_reply.h"
#include "sharding/key_encoding.h"
#include "test/support/memory_rows.h"

namespace cairn::test {

// Thread safety: none.
class MemorySink final : public server::CommandSink, private server::KeyspaceWalkHost {
 public:
  struct Late {
    server::ReplySlot where;
    std::string bytes;
  };

  MemoryRows rows;
  bool is_whole = false;
  server::RedirectMode redirect = server::RedirectMode::kAuto;
  bool late = false;  // replies wait in `queue` until the test hands them over
  std::vector<Late> queue;
  std::string password;
  std::string host = "127.0.0.1";
  uint16_t port = 6379;
  Instant clock = 0;
  uint64_t wall = 1'700'000'000'123'456;
  uint16_t foreign_from = 16384;  // slots from here on are advertised elsewhere
  bool replicas = false;          // of them are here all the same
  server::SessionHub shared{server::default_config_parameters()};
  bool room = true;  // for large commands
  size_t room_asked = 0, room_left = 0;
  uint64_t executed = 0;
  bool at_once = false;  // SCAN
  uint64_t answered_at_once = 0;
  std::vector<std::function<void()>> pages;  // of a walk, to be read

  bool execute(const server::CommandSpec& spec, server::Argv argv, uint16_t slot, server::ReplySlot where, int proto,
               server::RespWriter& reply) override {
    if (!late) {
      run(spec, argv, slot, reply);
      return true;
    }
    std::string bytes;
    server::RespWriter writer(bytes, proto);
    run(spec, argv, slot, writer);
    queue.push_back({where, std::move(bytes)});
    return false;
  }
  void execute_everywhere(const server::CommandSpec& spec, server::Argv argv, server::ReplySlot where,
                          int proto) override {
    if (spec.place == server::CommandPlace::kWalk) {
      server::KeyspaceWalk::start(*this, where.session, spec, argv, proto, [this, where](std::string_view reply) {
        queue.push_back({where, std::string(reply)});
      });
      while (!pages.empty()) {
        const auto page = std::move(pages.front());
        pages.erase(pages.begin());
        page();
      }
      return;
    }
    std::string bytes;
    server::RespWriter writer(bytes, proto);
    if (spec.evaluate != nullptr) {
      run(spec, argv, 0, writer);
    } else {
      writer.integer(std::count_if(rows.rows().begin(), rows.rows().end(),
                                   [](const auto& row) { return sharding::is_meta_row(row.first); }));
    }
    queue.push_back({where, std::move(bytes)});
  }

  bool scan_at_once(server::Argv argv, uint64_t, server::RespWriter& reply) override {
    if (!at_once) return false;
    const size_t start = reply.size();
    rows.begin();
    server::EvalContext context{rows, reply, {0}, 0};
    if (server::kScanAtOnceCommand.evaluate(context, argv) == server::EvalStatus::kDone) {
      ++answered_at_once;
      return true;
    }
    reply.rollback(start);
    return false;
  }

  bool whole() const override { return is_whole; }
  server::RedirectMode redirect_mode() const override { return redirect; }
  bool advertised_here(uint16_t slot, std::string* moved_to) const override {
    if (slot < foreign_from) return true;
    *moved_to = "10.0.0.2:6380";
    return false;
  }
  bool reserve_room(uint64_t, size_t bytes) override {
    room_asked = bytes;
    return room;
  }
  void release_room(uint64_t) override { ++room_left; }
  bool has_replica(uint16_t slot) const override { return replicas || slot < foreign_from; }
  server::Topology topology() const override {
    server::Topology out;
    out.epoch = 7;
    out.self = {1};
    out.ok = true;
    out.cluster_mode = !is_whole;
    out.slots_assigned = 16384;
    server::TopologyNode node;
    node.id = {1};
    node.hex_id = std::string(39, '0') + "1";
    node.host = host;
    node.port = port;
    node.bus_port = static_cast<uint16_t>(port + 1000);
    node.slots = {{0, static_cast<uint16_t>(foreign_from - 1)}};
    out.nodes.push_back(node);
    if (foreign_from < 16384) {
      node.id = {2};
      node.hex_id = std::string(39, '0') + "2";
      node.host = "10.0.0.2";
      node.port = 6380;
      node.bus_port = 7380;
      node.slots = {{foreign_from, 16383}};
      out.nodes.push_back(node);
    }
    return out;
  }
  Instant now() const override { return clock; }
  uint64_t wall_us() const override { return wall; }
  server::InfoSections info_sections() const override {
    return {{"server", {{"redis_version", "7.0.15"}, {"process_id", "1"}, {"tcp_port", std::to_string(port)}}},
            {"clients", {{"connected_clients", std::to_string(shared.sessions().size())}}},
            {"memory", {{"used_memory", "1"}}},
            {"consensus", {{"groups", "1"}}},
            {"keyspace", {}}};
  }
  server::SessionHub& hub() override { return shared; }
  std::string_view requirepass() const override { return password; }

 private:
  uint64_t random() override { return rows.random(); }
  bool wanted(uint64_t) const override { return true; }
  void ask_range(server::Argv argv, uint16_t slot, std::function<void(std::string_view)> done) override {
    const std::vector<std::string> owned(argv.begin(), argv.end());
    pages.push_back([this, owned, slot, done = std::move(done)] {
      const std::vector<std::string_view> views(owned.begin(), owned.end());
      std::string bytes;
      server::RespWriter writer(bytes, 2);
      run(server::kScanRangeCommand, views, slot, writer);
      done(bytes);
    });
  }
  void run(const server::CommandSpec& spec, server::Argv argv, uint16_t slot, server::RespWriter& reply) {
    ++executed;
    const size_t start = reply.size();
    for (;;) {
      rows.begin();
      server::EvalContext ctx{rows, reply, {0}, slot};
      const server::EvalStatus status = spec.evaluate(ctx, argv);
      if (status == server::EvalStatus::kDone) break;
      rows.rollback();
      if (status == server::EvalStatus::kRefused) break;
      reply.rollback(start);
      rows.fetch();
    }
    rows.commit();
    if (rows.cold) rows.cool();
  }
};

}  // namespace cairn::test
