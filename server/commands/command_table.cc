// The commands: dispatch, COMMAND and docs/commands.md lean on this array and on that of subcommand_table.cc.
#include <algorithm>
#include <array>
#include <bit>

#include "server/commands/command.h"
#include "server/commands/evaluators.h"

namespace cairn::server {
namespace {

// clang-format off
constexpr auto kCommands = std::to_array<CommandSpec>({
    {.name = "ACL", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kAcl,
     .summary = "Commands about users; there is one", .since = "6.0.0", .group = "server"},
    {.name = "APPEND", .arity = 3, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_append,
     .key_flags = "RW insert",
     .summary = "Appends bytes to a string; a missing key counts as empty", .since = "2.0.0", .group = "string"},
    {.name = "ASKING", .arity = 1, .flags = kFast, .categories = kAclFast | kAclConnection, .session = SessionCommand::kAsking,
     .summary = "Accepted for cluster clients; slots never move half-way here", .since = "3.0.0", .group = "cluster"},
    {.name = "AUTH", .arity = -2, .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy, .categories = kAclFast | kAclConnection, .session = SessionCommand::kAuth,
     .summary = "Authenticates the connection", .since = "1.0.0", .group = "connection"},
    {.name = "BITCOUNT", .arity = -2, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclBitmap | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_bitcount,
     .key_flags = "RO access",
     .summary = "Counts the bits of a string that are set", .since = "2.6.0", .group = "bitmap"},
    {.name = "BITFIELD", .arity = -2, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclBitmap | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_bitfield,
     .key_flags = "RW access update variable_flags",
     .summary = "Reads and changes integers of any width in a string", .since = "3.2.0", .group = "bitmap"},
    {.name = "BITFIELD_RO", .arity = -2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclBitmap | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_bitfield_ro,
     .key_flags = "RO access",
     .summary = "Reads integers of any width in a string", .since = "6.0.0", .group = "bitmap"},
    {.name = "BITOP", .arity = -4, .flags = kWrite | kDenyOom, .first_key = 2, .last_key = -1, .step = 1,
     .categories = kAclWrite | kAclBitmap | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_bitop,
     .key_flags = "OW update|RO access",
     .summary = "Stores AND, OR, XOR or NOT of strings", .since = "2.6.0", .group = "bitmap"},
    {.name = "BITPOS", .arity = -3, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclBitmap | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_bitpos,
     .key_flags = "RO access",
     .summary = "Finds the first bit of a string that is set or clear", .since = "2.8.7", .group = "bitmap"},
    {.name = "CLIENT", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kClient,
     .summary = "Commands about client connections", .since = "2.4.0", .group = "connection"},
    {.name = "CLUSTER", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kCluster,
     .summary = "Commands about the cluster and its slots", .since = "3.0.0", .group = "cluster"},
    {.name = "COMMAND", .arity = -1, .flags = kLoading | kStale, .categories = kAclSlow | kAclConnection, .session = SessionCommand::kCommand,
     .tips = "nondeterministic_output_order", .summary = "Describes the commands of this server", .since = "2.8.13", .group = "server"},
    {.name = "CONFIG", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kConfig,
     .summary = "Commands about server parameters", .since = "2.0.0", .group = "server"},
    {.name = "COPY", .arity = -3, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 2, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_copy,
     .key_flags = "RO access|OW update",
     .summary = "Copies a key", .since = "6.2.0", .group = "generic"},
    {.name = "DBSIZE", .arity = 1, .flags = kReadOnly | kFast, .categories = kAclKeyspace | kAclRead | kAclFast,
     .place = CommandPlace::kEverywhere, .tips = "request_policy:all_shards response_policy:agg_sum",
     .summary = "Number of keys", .since = "1.0.0", .group = "server"},
    {.name = "DECR", .arity = 2, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_decr,
     .key_flags = "RW access update",
     .summary = "Subtracts one from an integer", .since = "1.0.0", .group = "string"},
    {.name = "DECRBY", .arity = 3, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_decrby,
     .key_flags = "RW access update",
     .summary = "Subtracts a number from an integer", .since = "1.0.0", .group = "string"},
    {.name = "DEL", .arity = -2, .flags = kWrite, .first_key = 1, .last_key = -1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclSlow, .place = CommandPlace::kScatter, .evaluate = &evaluate_del,
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_flags = "RM delete",
     .summary = "Deletes keys", .since = "1.0.0", .group = "generic"},
    {.name = "DISCARD", .arity = 1, .flags = kNoScript | kLoading | kStale | kFast | kAllowBusy, .categories = kAclFast | kAclTransaction, .session = SessionCommand::kDiscard,
     .summary = "Forgets the queued commands", .since = "2.0.0", .group = "transactions"},
    {.name = "ECHO", .arity = 2, .flags = kLoading | kStale | kFast, .categories = kAclFast | kAclConnection, .session = SessionCommand::kEcho,
     .summary = "Returns its argument", .since = "1.0.0", .group = "connection"},
    {.name = "EXEC", .arity = 1, .flags = kNoScript | kLoading | kStale | kSkipSlowlog, .categories = kAclSlow | kAclTransaction, .session = SessionCommand::kExec,
     .summary = "Runs the queued commands as one", .since = "1.2.0", .group = "transactions"},
    {.name = "EXISTS", .arity = -2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = -1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kScatter, .evaluate = &evaluate_exists,
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_flags = "RO",
     .summary = "Counts which of the keys exist", .since = "1.0.0", .group = "generic"},
    {.name = "EXPIRE", .arity = -3, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_expire,
     .key_flags = "RW update",
     .summary = "Lets a key expire after seconds", .since = "1.0.0", .group = "generic"},
    {.name = "EXPIREAT", .arity = -3, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_expireat,
     .key_flags = "RW update",
     .summary = "Lets a key expire at a Unix time in seconds", .since = "1.2.0", .group = "generic"},
    {.name = "EXPIRETIME", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_expiretime,
     .key_flags = "RO access",
     .summary = "When a key expires, as a Unix time in seconds", .since = "7.0.0", .group = "generic"},
    {.name = "FLUSHALL", .arity = -1, .flags = kWrite,
     .categories = kAclKeyspace | kAclWrite | kAclSlow | kAclDangerous, .place = CommandPlace::kEverywhere,
     .evaluate = &evaluate_flush, .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Deletes all keys", .since = "1.0.0", .group = "server"},
    {.name = "FLUSHDB", .arity = -1, .flags = kWrite,
     .categories = kAclKeyspace | kAclWrite | kAclSlow | kAclDangerous, .place = CommandPlace::kEverywhere,
     .evaluate = &evaluate_flush, .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Deletes all keys", .since = "1.0.0", .group = "server"},
    {.name = "GET", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_get,
     .key_flags = "RO access",
     .summary = "Value of a string", .since = "1.0.0", .group = "string"},
    {.name = "GETBIT", .arity = 3, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclBitmap | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_getbit,
     .key_flags = "RO access",
     .summary = "A bit of a string", .since = "2.2.0", .group = "bitmap"},
    {.name = "GETDEL", .arity = 2, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_getdel,
     .key_flags = "RW access delete",
     .summary = "Value of a string, which is deleted", .since = "6.2.0", .group = "string"},
    {.name = "GETEX", .arity = -2, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_getex,
     .key_flags = "RW access update",
     .summary = "Value of a string, whose expiry is set or removed", .since = "6.2.0", .group = "string"},
    {.name = "GETRANGE", .arity = 4, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_getrange,
     .key_flags = "RO access",
     .summary = "A part of a string", .since = "2.4.0", .group = "string"},
    {.name = "GETSET", .arity = 3, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_getset,
     .key_flags = "RW access update",
     .summary = "Sets a string and answers its old value", .since = "1.0.0", .group = "string"},
    {.name = "HDEL", .arity = -3, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hdel,
     .key_flags = "RW delete",
     .summary = "Deletes fields of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HELLO", .arity = -1, .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy, .categories = kAclFast | kAclConnection, .session = SessionCommand::kHello,
     .summary = "Chooses the protocol, authenticates and names the connection", .since = "6.0.0", .group = "connection"},
    {.name = "HEXISTS", .arity = 3, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hexists,
     .key_flags = "RO",
     .summary = "Tells whether a hash has a field", .since = "2.0.0", .group = "hash"},
    {.name = "HGET", .arity = 3, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hget,
     .key_flags = "RO access",
     .summary = "Value of a field of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HGETALL", .arity = 2, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_hgetall,
     .tips = "nondeterministic_output_order", .key_flags = "RO access",
     .summary = "All fields and values of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HINCRBY", .arity = 4, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hincrby,
     .key_flags = "RW access update",
     .summary = "Adds a number to an integer of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HINCRBYFLOAT", .arity = 4, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hincrbyfloat,
     .key_flags = "RW access update",
     .summary = "Adds a floating point number to a number of a hash", .since = "2.6.0", .group = "hash"},
    {.name = "HKEYS", .arity = 2, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_hkeys,
     .tips = "nondeterministic_output_order", .key_flags = "RO access",
     .summary = "All fields of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HLEN", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hlen,
     .key_flags = "RO",
     .summary = "Number of fields of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HMGET", .arity = -3, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hmget,
     .key_flags = "RO access",
     .summary = "Values of several fields of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HMSET", .arity = -4, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hmset,
     .key_flags = "RW update",
     .summary = "Sets fields of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HRANDFIELD", .arity = -2, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_hrandfield,
     .tips = "nondeterministic_output", .key_flags = "RO access",
     .summary = "Fields of a hash, chosen at random", .since = "6.2.0", .group = "hash"},
    {.name = "HSCAN", .arity = -3, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_hscan,
     .tips = "nondeterministic_output", .key_flags = "RO access",
     .summary = "Fields and values of a hash, a part with each call", .since = "2.8.0", .group = "hash"},
    {.name = "HSET", .arity = -4, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hset,
     .key_flags = "RW update",
     .summary = "Sets fields of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "HSETNX", .arity = 4, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hsetnx,
     .key_flags = "RW insert",
     .summary = "Sets a field of a hash if it does not exist", .since = "2.0.0", .group = "hash"},
    {.name = "HSTRLEN", .arity = 3, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_hstrlen,
     .key_flags = "RO",
     .summary = "Length of a value of a hash", .since = "3.2.0", .group = "hash"},
    {.name = "HVALS", .arity = 2, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclHash | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_hvals,
     .tips = "nondeterministic_output_order", .key_flags = "RO access",
     .summary = "All values of a hash", .since = "2.0.0", .group = "hash"},
    {.name = "INCR", .arity = 2, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_incr,
     .key_flags = "RW access update",
     .summary = "Adds one to an integer", .since = "1.0.0", .group = "string"},
    {.name = "INCRBY", .arity = 3, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_incrby,
     .key_flags = "RW access update",
     .summary = "Adds a number to an integer", .since = "1.0.0", .group = "string"},
    {.name = "INCRBYFLOAT", .arity = 3, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_incrbyfloat,
     .key_flags = "RW access update",
     .summary = "Adds a floating point number to a number", .since = "2.6.0", .group = "string"},
    {.name = "INFO", .arity = -1, .flags = kLoading | kStale, .categories = kAclSlow | kAclDangerous, .session = SessionCommand::kInfo,
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special", .summary = "Facts and counters of this server", .since = "1.0.0", .group = "server"},
    {.name = "KEYS", .arity = 2, .flags = kReadOnly, .categories = kAclKeyspace | kAclRead | kAclSlow | kAclDangerous, .place = CommandPlace::kWalk,
     .tips = "request_policy:all_shards nondeterministic_output_order", .summary = "All keys that match a pattern", .since = "1.0.0", .group = "generic"},
    {.name = "LATENCY", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kLatency,
     .summary = "Commands about how long commands take", .since = "2.8.13", .group = "server"},
    {.name = "LCS", .arity = -3, .flags = kReadOnly, .first_key = 1, .last_key = 2, .step = 1,
     .categories = kAclRead | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_lcs,
     .key_flags = "RO access",
     .summary = "Longest common subsequence of two strings", .since = "7.0.0", .group = "string"},
    {.name = "LOLWUT", .arity = -1, .flags = kReadOnly | kFast, .categories = kAclRead | kAclFast, .session = SessionCommand::kLolwut,
     .summary = "Draws something and tells the version", .since = "5.0.0", .group = "server"},
    {.name = "MEMORY", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kMemory,
     .summary = "Commands about memory", .since = "4.0.0", .group = "server"},
    {.name = "MGET", .arity = -2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = -1, .step = 1,
     .categories = kAclRead | kAclString | kAclFast, .place = CommandPlace::kScatter, .evaluate = &evaluate_mget,
     .tips = "request_policy:multi_shard", .key_flags = "RO access",
     .summary = "Values of several strings", .since = "1.0.0", .group = "string"},
    {.name = "MODULE", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kModule,
     .summary = "Commands about modules; there are none", .since = "4.0.0", .group = "server"},
    {.name = "MSET", .arity = -3, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = -1, .step = 2,
     .categories = kAclWrite | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_mset,
     .tips = "request_policy:multi_shard response_policy:all_succeeded", .key_flags = "OW update",
     .summary = "Sets several strings", .since = "1.0.1", .group = "string"},
    {.name = "MSETNX", .arity = -3, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = -1, .step = 2,
     .categories = kAclWrite | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_msetnx,
     .tips = "request_policy:multi_shard response_policy:agg_min", .key_flags = "OW insert",
     .summary = "Sets several strings if none of the keys exists", .since = "1.0.1", .group = "string"},
    {.name = "MULTI", .arity = 1, .flags = kNoScript | kLoading | kStale | kFast | kAllowBusy, .categories = kAclFast | kAclTransaction, .session = SessionCommand::kMulti,
     .summary = "Begins a transaction: the commands that follow are queued", .since = "1.2.0", .group = "transactions"},
    {.name = "PERSIST", .arity = 2, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_persist,
     .key_flags = "RW update",
     .summary = "Removes the expiry of a key", .since = "2.2.0", .group = "generic"},
    {.name = "PEXPIRE", .arity = -3, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_pexpire,
     .key_flags = "RW update",
     .summary = "Lets a key expire after milliseconds", .since = "2.6.0", .group = "generic"},
    {.name = "PEXPIREAT", .arity = -3, .flags = kWrite | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_pexpireat,
     .key_flags = "RW update",
     .summary = "Lets a key expire at a Unix time in milliseconds", .since = "2.6.0", .group = "generic"},
    {.name = "PEXPIRETIME", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_pexpiretime,
     .key_flags = "RO access",
     .summary = "When a key expires, as a Unix time in milliseconds", .since = "7.0.0", .group = "generic"},
    {.name = "PING", .arity = -1, .flags = kFast, .categories = kAclFast | kAclConnection, .session = SessionCommand::kPing,
     .tips = "request_policy:all_shards response_policy:all_succeeded", .summary = "Answers PONG or its argument", .since = "1.0.0", .group = "connection"},
    {.name = "PSETEX", .arity = 4, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_psetex,
     .key_flags = "OW update",
     .summary = "Sets a string that expires after milliseconds", .since = "2.6.0", .group = "string"},
    {.name = "PTTL", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_pttl,
     .tips = "nondeterministic_output", .key_flags = "RO access",
     .summary = "Time until a key expires, in milliseconds", .since = "2.6.0", .group = "generic"},
    {.name = "QUIT", .arity = -1, .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy, .categories = kAclFast | kAclConnection, .session = SessionCommand::kQuit,
     .summary = "Closes the connection after the replies so far", .since = "1.0.0", .group = "connection"},
    {.name = "RANDOMKEY", .arity = 1, .flags = kReadOnly, .categories = kAclKeyspace | kAclRead | kAclSlow, .place = CommandPlace::kWalk,
     .tips = "request_policy:all_shards nondeterministic_output", .summary = "A key, chosen at random", .since = "1.0.0", .group = "generic"},
    {.name = "READONLY", .arity = 1, .flags = kLoading | kStale | kFast, .categories = kAclFast | kAclConnection, .session = SessionCommand::kReadonly,
     .summary = "Reads of this connection may be answered by followers", .since = "3.0.0", .group = "cluster"},
    {.name = "READWRITE", .arity = 1, .flags = kLoading | kStale | kFast, .categories = kAclFast | kAclConnection, .session = SessionCommand::kReadwrite,
     .summary = "Takes READONLY back", .since = "3.0.0", .group = "cluster"},
    {.name = "RENAME", .arity = 3, .flags = kWrite, .first_key = 1, .last_key = 2, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_rename,
     .key_flags = "RW access delete|OW update",
     .summary = "Gives a key another name", .since = "1.0.0", .group = "generic"},
    {.name = "RENAMENX", .arity = 3, .flags = kWrite | kFast, .first_key = 1, .last_key = 2, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_renamenx,
     .key_flags = "RW access delete|OW insert",
     .summary = "Gives a key another name if that is not taken", .since = "1.0.0", .group = "generic"},
    {.name = "RESET", .arity = 1, .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy, .categories = kAclFast | kAclConnection, .session = SessionCommand::kReset,
     .summary = "Makes the connection as if it were new", .since = "6.2.0", .group = "connection"},
    {.name = "SCAN", .arity = -2, .flags = kReadOnly, .categories = kAclKeyspace | kAclRead | kAclSlow, .place = CommandPlace::kWalk,
     .tips = "nondeterministic_output request_policy:special", .summary = "Keys, a part with each call", .since = "2.8.0", .group = "generic"},
    {.name = "SELECT", .arity = 2, .flags = kLoading | kStale | kFast, .categories = kAclFast | kAclConnection, .session = SessionCommand::kSelect,
     .summary = "Chooses the database; there is only 0", .since = "1.0.0", .group = "connection"},
    {.name = "SET", .arity = -3, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_set,
     .key_flags = "RW access update variable_flags",
     .summary = "Sets a string, with conditions and expiry", .since = "1.0.0", .group = "string"},
    {.name = "SETBIT", .arity = 4, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclBitmap | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_setbit,
     .key_flags = "RW access update",
     .summary = "Sets or clears a bit of a string", .since = "2.2.0", .group = "bitmap"},
    {.name = "SETEX", .arity = 4, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_setex,
     .key_flags = "OW update",
     .summary = "Sets a string that expires after seconds", .since = "2.0.0", .group = "string"},
    {.name = "SETNX", .arity = 3, .flags = kWrite | kDenyOom | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_setnx,
     .key_flags = "OW insert",
     .summary = "Sets a string if the key does not exist", .since = "1.0.0", .group = "string"},
    {.name = "SETRANGE", .arity = 4, .flags = kWrite | kDenyOom, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclWrite | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_setrange,
     .key_flags = "RW update",
     .summary = "Overwrites a part of a string", .since = "2.2.0", .group = "string"},
    {.name = "SLOWLOG", .arity = -2, .flags = 0, .categories = kAclSlow, .session = SessionCommand::kSlowlog,
     .summary = "Commands about the log of slow commands", .since = "2.2.12", .group = "server"},
    {.name = "STRLEN", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclString | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_strlen,
     .key_flags = "RO",
     .summary = "Length of a string", .since = "2.2.0", .group = "string"},
    {.name = "SUBSTR", .arity = 4, .flags = kReadOnly, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclRead | kAclString | kAclSlow, .place = CommandPlace::kRange, .evaluate = &evaluate_getrange,
     .key_flags = "RO access",
     .summary = "A part of a string: the old name of GETRANGE", .since = "1.0.0", .group = "string"},
    {.name = "SWAPDB", .arity = 3, .flags = kWrite | kFast, .categories = kAclKeyspace | kAclWrite | kAclFast | kAclDangerous, .session = SessionCommand::kSwapdb,
     .summary = "Refused: there is only database 0", .since = "4.0.0", .group = "server"},
    {.name = "TIME", .arity = 1, .flags = kLoading | kStale | kFast, .categories = kAclFast, .session = SessionCommand::kTime,
     .tips = "nondeterministic_output", .summary = "Time of this server", .since = "2.6.0", .group = "server"},
    {.name = "TOUCH", .arity = -2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = -1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kScatter, .evaluate = &evaluate_exists,
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_flags = "RO",
     .summary = "Counts which of the keys exist", .since = "3.2.1", .group = "generic"},
    {.name = "TTL", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_ttl,
     .tips = "nondeterministic_output", .key_flags = "RO access",
     .summary = "Time until a key expires, in seconds", .since = "1.0.0", .group = "generic"},
    {.name = "TYPE", .arity = 2, .flags = kReadOnly | kFast, .first_key = 1, .last_key = 1, .step = 1,
     .categories = kAclKeyspace | kAclRead | kAclFast, .place = CommandPlace::kRange, .evaluate = &evaluate_type,
     .key_flags = "RO",
     .summary = "Type of the value of a key", .since = "1.0.0", .group = "generic"},
    {.name = "UNLINK", .arity = -2, .flags = kWrite | kFast, .first_key = 1, .last_key = -1, .step = 1,
     .categories = kAclKeyspace | kAclWrite | kAclFast, .place = CommandPlace::kScatter, .evaluate = &evaluate_del,
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_flags = "RM delete",
     .summary = "Deletes keys", .since = "4.0.0", .group = "generic"},
    {.name = "UNWATCH", .arity = 1, .flags = kNoScript | kLoading | kStale | kFast | kAllowBusy, .categories = kAclFast | kAclTransaction, .session = SessionCommand::kUnwatch,
     .summary = "Forgets the watched keys", .since = "2.2.0", .group = "transactions"},
    {.name = "WATCH", .arity = -2, .flags = kNoScript | kLoading | kStale | kFast | kAllowBusy, .first_key = 1, .last_key = -1, .step = 1,
     .categories = kAclFast | kAclTransaction, .session = SessionCommand::kWatch,
     .key_flags = "RO", .summary = "Lets EXEC run only if the keys are unchanged by then", .since = "2.2.0", .group = "transactions"},
});
// clang-format on
static_assert(std::ranges::is_sorted(kCommands, {}, &CommandSpec::name));

constexpr char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

// Two overlapping halves of the name, with the bit that tells upper from lower case set: equal for names that
// differ only in case. Distinct names may collide; the table is probed and the name compared.
constexpr uint64_t load(const char* p, size_t n) {
  uint64_t value = 0;
  for (size_t i = 0; i < n; ++i) value |= static_cast<uint64_t>(static_cast<uint8_t>(p[i]) | 0x20) << (8 * i);
  return value;
}
constexpr size_t kNameMax = 16;
constexpr size_t kBuckets = 256;
constexpr size_t bucket_of(std::string_view name) {
  const char* p = name.data();
  const size_t n = name.size();
  uint64_t low = 0, high = 0;
  if (n >= 8) {
    low = load(p, 8);
    high = load(p + n - 8, 8);
  } else if (n >= 4) {
    low = load(p, 4);
    high = load(p + n - 4, 4);
  } else {
    low = load(p, n);
  }
  const uint64_t mixed = (low ^ (high * 0x9E3779B97F4A7C15ull) ^ n) * 0xD6E8FEB86659FD93ull;
  return static_cast<size_t>(mixed >> 56);
}

// Bucket -> position in kCommands, 0xFF: free. Linear probing.
constexpr auto kIndex = [] {
  static_assert(kCommands.size() < 128);
  std::array<uint8_t, kBuckets> index{};
  index.fill(0xFF);
  for (size_t i = 0; i < kCommands.size(); ++i) {
    size_t bucket = bucket_of(kCommands[i].name);
    while (index[bucket] != 0xFF) bucket = (bucket + 1) % kBuckets;
    index[bucket] = static_cast<uint8_t>(i);
  }
  return index;
}();

}  // namespace

std::span<const CommandSpec> command_table() { return kCommands; }

bool equals_ignoring_case(std::string_view text, std::string_view upper) {
  if (text.size() != upper.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (to_upper(text[i]) != upper[i]) return false;
  }
  return true;
}

const CommandSpec* find_command(std::string_view name) {
  if (name.empty() || name.size() > kNameMax) return nullptr;
  for (size_t bucket = bucket_of(name); kIndex[bucket] != 0xFF; bucket = (bucket + 1) % kBuckets) {
    const CommandSpec& spec = kCommands[kIndex[bucket]];
    if (equals_ignoring_case(name, spec.name)) return &spec;
  }
  return nullptr;
}

}  // namespace cairn::server
