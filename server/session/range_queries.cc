// Subcommands that need the rows of a range: they become commands of their own, which run on the range's leader.
#include "server/commands/inner_commands.h"
#include "server/resp/number.h"
#include "server/session/session.h"
#include "server/session/wording.h"
#include "sharding/slot.h"

namespace cairn::server {

bool Session::runs_in_range(const SubcommandSpec& subcommand) const {
  if (subcommand.name == "USAGE") return true;
  // Of a standalone server they are refused like every CLUSTER command.
  return !sink_.whole() && (subcommand.name == "COUNTKEYSINSLOT" || subcommand.name == "GETKEYSINSLOT");
}

void Session::execute_subcommand(const SubcommandSpec& subcommand, Argv argv) {
  const auto run = [&](const CommandSpec& inner, Argv inner_argv, uint16_t slot) {
    hand_over(inner, inner_argv, slot, replies_.open(0));
  };
  if (subcommand.name == "USAGE") {
    for (size_t i = 3; i < argv.size(); i += 2) {
      int64_t samples = 0;
      if (!equals_ignoring_case(argv[i], "SAMPLES") || i + 1 == argv.size()) return answer_error(kSyntaxError);
      if (!parse_integer(argv[i + 1], samples)) return answer_error(kNotAnInteger);
      if (samples < 0) return answer_error(kSyntaxError);
    }
    const std::string_view inner[] = {kMemoryUsageCommand.name, argv[2]};
    return run(kMemoryUsageCommand, inner, sharding::key_slot(argv[2]));
  }
  const bool count = subcommand.name == "COUNTKEYSINSLOT";
  int64_t slot = 0, keys = 0;
  if (!parse_integer(argv[2], slot) || (!count && !parse_integer(argv[3], keys))) return answer_error(kNotAnInteger);
  if (slot < 0 || slot >= sharding::kSlots || keys < 0) {
    return answer_error(count ? "ERR Invalid slot" : "ERR Invalid slot or number of keys");
  }
  const std::string_view inner[] = {kSlotKeysCommand.name, count ? std::string_view() : argv[3]};
  run(kSlotKeysCommand, inner, static_cast<uint16_t>(slot));
}

}  // namespace cairn::server
