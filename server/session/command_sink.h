// What a session (one client connection) needs from its node. Implemented by the node; faked in tests.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "server/commands/command.h"

namespace cairn::server {

class SessionHub;

// Where a reply that comes later belongs.
struct ReplySlot {
  uint64_t session = 0;   // Session::id()
  uint64_t sequence = 0;  // chosen by the session, given back unchanged
};

struct TopologyNode {
  NodeId id;
  std::string hex_id;  // 40 hex digits
  std::string host;    // client address to advertise
  uint16_t port = 0;
  uint16_t bus_port = 0;
  bool connected = true;
  uint64_t connected_ms = 0;                         // since when, milliseconds since 1970; 0: not known
  std::vector<std::pair<uint16_t, uint16_t>> slots;  // advertised owner of these, both ends inside
};
struct Topology {
  uint64_t epoch = 0;  // version of the advertised slot map
  NodeId self;
  std::vector<TopologyNode> nodes;  // sorted by id
  uint32_t slots_assigned = 0;
  bool ok = false;           // every range has a leader as far as this node knows
  bool cluster_mode = true;  // false: `default` is one whole range; answer as a standalone Redis
};

// MOVED is answered by the session from this alone: the advertised owner of a slot.
// kAuto: only connections that showed themselves to be cluster clients (CLUSTER SLOTS, SHARDS or NODES,
// READONLY, ASKING).
enum class RedirectMode : uint8_t { kAuto, kAlways, kNever };

// INFO's fields by section, both in order.
using InfoSections = std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>>;

class CommandSink {
 public:
  virtual ~CommandSink() = default;

  // Runs one command (CommandPlace::kRange, or one slot's part of a kScatter one) on the leader of its range,
  // wherever that is. `argv` and what it points to are valid only during the call. True: the reply was
  // appended to `reply` before returning. False: it arrives later, exactly once, through
  // Session::deliver(slot.sequence, bytes). `proto` (2 or 3) is the protocol the reply is written in. Calls
  // of one session for one range are run in call order.
  virtual bool execute(const CommandSpec& spec, Argv argv, uint16_t slot, ReplySlot where, int proto,
                       RespWriter& reply) = 0;
  // Hints that commands which are executed next read these keys, of these slots.
  virtual void expect(Argv /*keys*/, std::span<const uint16_t> /*slots*/) {}
  // Runs a command of CommandPlace::kEverywhere on every range (the reply is an integer sum, +OK, or the first error),
  // or one of kWalk, whose arguments are right, on one after another. The reply always arrives later.
  virtual void execute_everywhere(const CommandSpec& spec, Argv argv, ReplySlot where, int proto) = 0;
  // A SCAN whose arguments are right. True: its reply was written. False: nothing was, and it is one for
  // execute_everywhere().
  virtual bool scan_at_once(Argv /*argv*/, uint64_t /*session*/, RespWriter& /*reply*/) { return false; }

  // The keys of a multi-key command may be in any slots and run as one command (`sharding: whole`).
  virtual bool whole() const = 0;
  virtual RedirectMode redirect_mode() const = 0;
  // Advertised owner of a slot; `moved_to` = "host:port". True if that is this node.
  virtual bool advertised_here(uint16_t slot, std::string* moved_to) const = 0;
  // A replica of the slot is on this node: it may answer connections that sent READONLY.
  virtual bool has_replica(uint16_t /*slot*/) const { return false; }
  virtual Topology topology() const = 0;

  // Memory for a large command whose size a session has announced (large_commands.h). False: it comes later, by
  // Session::room_granted().
  virtual bool reserve_room(uint64_t /*session*/, size_t /*bytes*/) { return true; }
  virtual void release_room(uint64_t /*session*/) {}

  virtual Instant now() const = 0;
  virtual uint64_t wall_us() const = 0;
  // INFO's fields that the session does not know itself, in order, by section ("server", "memory", ...).
  virtual InfoSections info_sections() const = 0;
  // What the connections of this node share.
  virtual SessionHub& hub() = 0;
  virtual std::string_view requirepass() const = 0;  // empty: no password
};

}  // namespace cairn::server
