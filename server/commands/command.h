// The command table: the one source of dispatch, arity, key positions, ACL categories and COMMAND.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/metrics.h"
#include "server/commands/row_view.h"
#include "server/resp/writer.h"
#include "sharding/key_encoding.h"

namespace cairn::server {

using Argv = std::span<const std::string_view>;  // argv[0] is the command name as sent

enum class EvalStatus : uint8_t {
  kDone,       // the reply was written (an error reply is also done; an error has no effects)
  kNeedsRows,  // rows are missing: drop what was written, fetch, run again
  kRefused,    // an error reply was written: drop what was written to rows
};

// One evaluation on the leader of the range that holds the keys.
// What one evaluation has met of keys. It counts when the evaluation is done: one that has to wait for rows is
// repeated.
struct KeyLookups {
  uint32_t hits = 0;  // of keys that a command has asked for (asks_for_keys)
  uint32_t misses = 0;
  uint32_t expired = 0;  // keys that were due, and were deleted therefore
};
struct KeyLookupMetrics {
  Counter hits, misses, expired;
  void add(const KeyLookups& lookups) {
    if (lookups.hits != 0) hits.add_owned(lookups.hits);
    if (lookups.misses != 0) misses.add_owned(lookups.misses);
    if (lookups.expired != 0) expired.add_owned(lookups.expired);
  }
};

struct EvalContext {
  RowView& rows;
  RespWriter& reply;
  sharding::KeyspaceId keyspace;
  uint16_t slot = 0;              // of all keys
  KeyLookups* lookups = nullptr;  // null: not counted
  bool asking = false;            // asks_for_keys() of the client's command
};

// Where and how a command runs.
enum class CommandPlace : uint8_t {
  kConnection,  // on the connection's node, by the session: PING, HELLO, CLIENT, CLUSTER, INFO ...
  kRange,       // on the leader of its key's range, all keys in one slot
  kScatter,     // over several slots: split by slot, run as kRange each, replies merged (MGET, DEL, EXISTS)
  kEverywhere,  // on every range: DBSIZE, FLUSHALL
  kWalk,        // on one range after another: SCAN, KEYS, RANDOMKEY
};

enum CommandFlag : uint32_t {
  kWrite = 1u << 0,
  kReadOnly = 1u << 1,
  kDenyOom = 1u << 2,
  kFast = 1u << 3,
  kAdmin = 1u << 4,
  kNoAuth = 1u << 5,  // allowed before AUTH
  kLoading = 1u << 6,
  kStale = 1u << 7,
  kDangerous = 1u << 8,
  kConnectionCategory = 1u << 9,
  kNoScript = 1u << 10,
  kAllowBusy = 1u << 11,
  kSkipSlowlog = 1u << 12,
};

// ACL categories beyond those that follow from flags and place. COMMAND lists them in the order of command_info.cc.
enum AclCategory : uint32_t {
  kAclKeyspace = 1u << 0,
  kAclRead = 1u << 1,
  kAclWrite = 1u << 2,
  kAclHash = 1u << 3,
  kAclString = 1u << 4,
  kAclAdmin = 1u << 5,
  kAclFast = 1u << 6,
  kAclSlow = 1u << 7,
  kAclDangerous = 1u << 8,
  kAclConnection = 1u << 9,
  kAclBitmap = 1u << 10,
  kAclTransaction = 1u << 11,
};

// Which of the session's own commands this is (CommandPlace::kConnection).
enum class SessionCommand : uint8_t {
  kNone,
  kAcl,
  kAsking,
  kAuth,
  kClient,
  kCluster,
  kCommand,
  kConfig,
  kEcho,
  kHello,
  kInfo,
  kLatency,
  kLolwut,
  kMemory,
  kModule,
  kPing,
  kQuit,
  kReadonly,
  kReadwrite,
  kReset,
  kSelect,
  kSlowlog,
  kSwapdb,
  kTime,
  kUnwatch,
  kMulti,  // from here to kWatch: never queued
  kDiscard,
  kExec,
  kWatch,
};

using EvaluateFn = EvalStatus (*)(EvalContext&, Argv);

struct CommandSpec {
  std::string_view name;  // upper case
  int arity = 0;          // as COMMAND says: exact, or minus the least number of arguments; the name counts
  uint32_t flags = 0;
  int first_key = 0;  // position of the first key; 0 = none
  int last_key = 0;   // negative: from the end
  int step = 0;
  uint32_t categories = 0;  // bits of kAclCategories (command_table.cc)
  CommandPlace place = CommandPlace::kConnection;
  EvaluateFn evaluate = nullptr;  // kRange and kScatter
  SessionCommand session = SessionCommand::kNone;
  std::string_view tips = {};  // COMMAND's tips, separated by blanks
  // Of the key specifications, flags separated by blanks, specifications by '|': all but the last describe one key.
  std::string_view key_flags = {};
  std::string_view arguments = {};  // for COMMAND DOCS, as in argument_docs.h
  std::string_view summary = {};    // for COMMAND DOCS and docs/commands.md
  std::string_view since = {};      // Redis version that has it
  std::string_view group = {};
};

// Commands that only nodes send to each other, through the same path as those of clients. Their names begin with \x01,
// which no client's command does. `keys`: all arguments are keys.
constexpr CommandSpec internal_command(std::string_view name, int arity, uint32_t flags, EvaluateFn evaluate,
                                       bool keys = false) {
  CommandSpec spec;
  spec.name = name;
  spec.arity = arity;
  spec.flags = flags;
  spec.first_key = spec.step = keys ? 1 : 0;
  spec.last_key = keys ? -1 : 0;
  spec.place = CommandPlace::kRange;
  spec.evaluate = evaluate;
  return spec;
}
inline bool is_internal(std::string_view name) { return name.starts_with('\x01'); }
// A command of clients that asks for its keys: one that changes nothing, or GETSET, GETDEL, GETEX.
inline bool asks_for_keys(const CommandSpec& spec) {
  return ((spec.flags & kReadOnly) != 0 && !is_internal(spec.name)) || spec.name.starts_with("GET");
}

struct SubcommandSpec {
  std::string_view container;  // upper case
  std::string_view name;       // upper case
  int arity = 0;               // counts container and name
  uint32_t flags = 0;
  uint32_t categories = 0;
  std::string_view tips = {};
  std::string_view arguments = {};  // as in argument_docs.h
  std::string_view summary = {};
  std::string_view since = {};  // Redis version that has it
};

std::span<const CommandSpec> command_table();        // sorted by name
std::span<const SubcommandSpec> subcommand_table();  // sorted by container and name
// Case-insensitive. Null: unknown.
const CommandSpec* find_command(std::string_view name);
// Case-insensitive in `name`; `container` in upper case. Null: unknown.
const SubcommandSpec* find_subcommand(std::string_view container, std::string_view name);
inline bool arity_matches(int arity, size_t arguments) {
  return arity >= 0 ? arguments == static_cast<size_t>(arity) : arguments >= static_cast<size_t>(-arity);
}
bool equals_ignoring_case(std::string_view text, std::string_view upper);  // `upper` is in upper case

}  // namespace cairn::server
