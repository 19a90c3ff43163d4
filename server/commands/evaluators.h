// The evaluators that command_table.cc refers to, by the file that has them.
//
// Every one of them may be run again after EvalStatus::kNeedsRows: it keeps nothing but scratch memory
// between runs, and it asks for all the rows it can name before it gives up, so that they are fetched
// together. They reply in the words of Redis 7.0.15. No evaluator runs another; they may run on several
// threads at once.
#pragma once

#include "server/commands/command.h"

namespace cairn::server {

// string.cc
EvalStatus evaluate_append(EvalContext& ctx, Argv argv);
EvalStatus evaluate_decr(EvalContext& ctx, Argv argv);
EvalStatus evaluate_decrby(EvalContext& ctx, Argv argv);
EvalStatus evaluate_get(EvalContext& ctx, Argv argv);
EvalStatus evaluate_getdel(EvalContext& ctx, Argv argv);
EvalStatus evaluate_getex(EvalContext& ctx, Argv argv);
EvalStatus evaluate_getrange(EvalContext& ctx, Argv argv);
EvalStatus evaluate_getset(EvalContext& ctx, Argv argv);
EvalStatus evaluate_incr(EvalContext& ctx, Argv argv);
EvalStatus evaluate_incrby(EvalContext& ctx, Argv argv);
EvalStatus evaluate_incrbyfloat(EvalContext& ctx, Argv argv);
EvalStatus evaluate_mget(EvalContext& ctx, Argv argv);
EvalStatus evaluate_mset(EvalContext& ctx, Argv argv);
EvalStatus evaluate_msetnx(EvalContext& ctx, Argv argv);
EvalStatus evaluate_psetex(EvalContext& ctx, Argv argv);
EvalStatus evaluate_set(EvalContext& ctx, Argv argv);
EvalStatus evaluate_setex(EvalContext& ctx, Argv argv);
EvalStatus evaluate_setnx(EvalContext& ctx, Argv argv);
EvalStatus evaluate_setrange(EvalContext& ctx, Argv argv);
EvalStatus evaluate_strlen(EvalContext& ctx, Argv argv);
// lcs.cc
EvalStatus evaluate_lcs(EvalContext& ctx, Argv argv);
// bitmap.cc
EvalStatus evaluate_bitcount(EvalContext& ctx, Argv argv);
EvalStatus evaluate_bitfield(EvalContext& ctx, Argv argv);
EvalStatus evaluate_bitfield_ro(EvalContext& ctx, Argv argv);
EvalStatus evaluate_bitop(EvalContext& ctx, Argv argv);
EvalStatus evaluate_bitpos(EvalContext& ctx, Argv argv);
EvalStatus evaluate_getbit(EvalContext& ctx, Argv argv);
EvalStatus evaluate_setbit(EvalContext& ctx, Argv argv);
// hash.cc
EvalStatus evaluate_hdel(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hexists(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hget(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hgetall(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hincrby(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hincrbyfloat(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hkeys(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hlen(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hmget(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hmset(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hrandfield(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hset(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hsetnx(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hstrlen(EvalContext& ctx, Argv argv);
EvalStatus evaluate_hvals(EvalContext& ctx, Argv argv);
// scan.cc
EvalStatus evaluate_hscan(EvalContext& ctx, Argv argv);
// generic.cc
EvalStatus evaluate_copy(EvalContext& ctx, Argv argv);
EvalStatus evaluate_del(EvalContext& ctx, Argv argv);
EvalStatus evaluate_exists(EvalContext& ctx, Argv argv);
EvalStatus evaluate_flush(EvalContext& ctx, Argv argv);
EvalStatus evaluate_rename(EvalContext& ctx, Argv argv);
EvalStatus evaluate_renamenx(EvalContext& ctx, Argv argv);
EvalStatus evaluate_type(EvalContext& ctx, Argv argv);
// expiry.cc
EvalStatus evaluate_expire(EvalContext& ctx, Argv argv);
EvalStatus evaluate_expireat(EvalContext& ctx, Argv argv);
EvalStatus evaluate_expiretime(EvalContext& ctx, Argv argv);
EvalStatus evaluate_persist(EvalContext& ctx, Argv argv);
EvalStatus evaluate_pexpire(EvalContext& ctx, Argv argv);
EvalStatus evaluate_pexpireat(EvalContext& ctx, Argv argv);
EvalStatus evaluate_pexpiretime(EvalContext& ctx, Argv argv);
EvalStatus evaluate_pttl(EvalContext& ctx, Argv argv);
EvalStatus evaluate_ttl(EvalContext& ctx, Argv argv);

}  // namespace cairn::server
