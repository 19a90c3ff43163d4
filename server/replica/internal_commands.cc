// The commands that nodes send to each other, by name.
#include <initializer_list>

#include "server/commands/inner_commands.h"
#include "server/commands/scan.h"
#include "server/commands/transaction.h"
#include "server/replica/replica.h"

namespace cairn::server {
namespace {
EvalStatus run_probe(EvalContext& context, Argv argv) {
  context.rows.put("\xff\xff\xff\xff\x01probe", argv.size() > 1 ? argv[1] : std::string_view());
  context.reply.ok();
  return EvalStatus::kDone;
}
EvalStatus run_put_row(EvalContext& context, Argv argv) {
  context.rows.put(argv[1], argv[2]);
  context.reply.ok();
  return EvalStatus::kDone;
}
}  // namespace

// Those without a function are answered by Replica::execute.
const CommandSpec kCountKeysCommand = internal_command(
    "\x01"
    "COUNT",
    1, kReadOnly, nullptr);
const CommandSpec kRangeStatusCommand = internal_command("\x01STATUS", 1, kReadOnly, nullptr);
const CommandSpec kReadIndexCommand = internal_command("\x01READINDEX", 1, kReadOnly, nullptr);
const CommandSpec kProbeCommand = internal_command("\x01PROBE", 2, kWrite, &run_probe);
const CommandSpec kPutRowCommand = internal_command("\x01PUTROW", 3, kWrite, &run_put_row);

const CommandSpec* find_internal_command(std::string_view name) {
  for (const CommandSpec* spec :
       {&kCountKeysCommand, &kRangeStatusCommand, &kReadIndexCommand, &kProbeCommand, &kPutRowCommand,
        &kScanRangeCommand, &kWatchCommand, &kExecCommand, &kExecDeletingCommand, &kExecReadingCommand,
        &kMemoryUsageCommand, &kSlotKeysCommand}) {
    if (spec->name == name) return spec;
  }
  return nullptr;
}

const CommandSpec* find_any_command(std::string_view name) {
  return is_internal(name) ? find_internal_command(name) : find_command(name);
}

}  // namespace cairn::server
