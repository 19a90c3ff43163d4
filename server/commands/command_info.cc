#include "server/commands/command_info.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "server/commands/argument_docs.h"
#include "server/commands/glob.h"
#include "server/commands/key_access.h"

namespace cairn::server {
namespace {

using Named = std::pair<uint32_t, std::string_view>;
// In the order in which Redis lists them.
constexpr auto kFlagNames = std::to_array<Named>({
    {kWrite, "write"},
    {kReadOnly, "readonly"},
    {kDenyOom, "denyoom"},
    {kAdmin, "admin"},
    {kNoScript, "noscript"},
    {kLoading, "loading"},
    {kStale, "stale"},
    {kSkipSlowlog, "skip_slowlog"},
    {kFast, "fast"},
    {kNoAuth, "no_auth"},
    {kAllowBusy, "allow_busy"},
});
constexpr auto kCategoryNames = std::to_array<Named>({
    {kAclKeyspace, "@keyspace"},
    {kAclRead, "@read"},
    {kAclWrite, "@write"},
    {kAclHash, "@hash"},
    {kAclString, "@string"},
    {kAclBitmap, "@bitmap"},
    {kAclAdmin, "@admin"},
    {kAclFast, "@fast"},
    {kAclSlow, "@slow"},
    {kAclDangerous, "@dangerous"},
    {kAclConnection, "@connection"},
    {kAclTransaction, "@transaction"},
});

constexpr std::string_view kSlotsAreAssigned = "ERR slots are assigned by the cluster itself; see /v1/ranges";
constexpr std::string_view kNoRoles =
    "ERR every range elects its own leader; no node is a master or replica of another";
// What Cairn has no counterpart of, and what to do instead.
constexpr std::pair<std::string_view, std::string_view> kClusterRefusals[] = {
    {"ADDSLOTS", kSlotsAreAssigned},
    {"ADDSLOTSRANGE", kSlotsAreAssigned},
    {"BUMPEPOCH", kSlotsAreAssigned},
    {"DELSLOTS", kSlotsAreAssigned},
    {"DELSLOTSRANGE", kSlotsAreAssigned},
    {"FAILOVER", kNoRoles},
    {"FLUSHSLOTS", kSlotsAreAssigned},
    {"FORGET", "ERR nodes are members by agreement of the cluster; see /v1/nodes"},
    {"MEET", "ERR a node joins when it is started with --join and the peer address of a member"},
    {"REPLICATE", kNoRoles},
    {"RESET", kSlotsAreAssigned},
    {"SAVECONFIG", "ERR the cluster keeps its configuration itself"},
    {"SET-CONFIG-EPOCH", kSlotsAreAssigned},
    {"SETSLOT", kSlotsAreAssigned},
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

template <size_t N>
void write_bits(RespWriter& reply, uint32_t bits, const std::array<Named, N>& names) {
  reply.set(static_cast<size_t>(std::popcount(bits)));
  for (const auto& [bit, name] : names) {
    if (bits & bit) reply.status(name);
  }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void write_tips(RespWriter& reply, std::string_view tips) {
  const auto list = split(tips, ' ');
  reply.set(list.size());
  for (const std::string_view tip : list) reply.bulk(tip);
}

// `last`: relative to the first key, or negative from the end.
void write_key_spec(RespWriter& reply, std::string_view flag_words, int first, int last, int step) {
  reply.map(3);
  reply.bulk("flags");
  const auto flags = split(flag_words, ' ');
  reply.set(flags.size());
  for (const std::string_view flag : flags) reply.status(flag);
  reply.bulk("begin_search");
  reply.map(2);
  reply.bulk("type");
  reply.bulk("index");
  reply.bulk("spec");
  reply.map(1);
  reply.bulk("index");
  reply.integer(first);
  reply.bulk("find_keys");
  reply.map(2);
  reply.bulk("type");
  reply.bulk("range");
  reply.bulk("spec");
  reply.map(3);
  reply.bulk("lastkey");
  reply.integer(last);
  reply.bulk("keystep");
  reply.integer(step);
  reply.bulk("limit");
  reply.integer(0);
}

void write_key_specs(RespWriter& reply, const CommandSpec& spec) {
  if (spec.first_key == 0) return reply.set(0);
  const auto specs = split(spec.key_flags, '|');
  reply.set(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const int first = spec.first_key + static_cast<int>(i);
    const bool rest = i + 1 == specs.size();
    const int last = spec.last_key < 0 ? spec.last_key : spec.last_key - first;
    write_key_spec(reply, specs[i], first, rest ? last : 0, rest ? spec.step : 1);
  }
}

void write_subcommand(RespWriter& reply, const CommandSpec& spec, const SubcommandSpec& sub) {
  reply.array(10);
  reply.bulk(full_name(spec, &sub));
  reply.integer(sub.arity);
  write_bits(reply, sub.flags, kFlagNames);
  reply.integer(0);
  reply.integer(0);
  reply.integer(0);
  write_bits(reply, sub.categories, kCategoryNames);
  write_tips(reply, sub.tips);
  reply.set(0);
  reply.set(0);
}

std::vector<const SubcommandSpec*> subcommands_of(const CommandSpec& spec) {
  std::vector<const SubcommandSpec*> out;
  for (const SubcommandSpec& sub : subcommand_table()) {
    if (sub.container == spec.name) out.push_back(&sub);
  }
  return out;
}

void write_info(RespWriter& reply, const CommandSpec& spec) {
  reply.array(10);
  reply.bulk(lower(spec.name));
  reply.integer(spec.arity);
  write_bits(reply, spec.flags, kFlagNames);
  reply.integer(spec.first_key);
  reply.integer(spec.last_key);
  reply.integer(spec.step);
  write_bits(reply, spec.categories, kCategoryNames);
  write_tips(reply, spec.tips);
  write_key_specs(reply, spec);
  const auto subs = subcommands_of(spec);
  if (subs.empty()) return reply.set(0);
  reply.array(subs.size());  // Redis answers a set only where there are none
  for (const SubcommandSpec* sub : subs) write_subcommand(reply, spec, *sub);
}

// `entries`: of the map, beyond what is written here.
void write_docs(RespWriter& reply, std::string_view summary, std::string_view since, std::string_view group,
                std::string_view arguments, size_t entries = 0) {
  reply.map(3 + size_t{!arguments.empty()} + entries);
  reply.bulk("summary");
  reply.bulk(summary);
  reply.bulk("since");
  reply.bulk(since);
  reply.bulk("group");
  reply.bulk(group);
  if (arguments.empty()) return;
  reply.bulk("arguments");
  write_arguments(parse_arguments(arguments), reply);
}

void write_subcommand_docs(RespWriter& reply, const CommandSpec& spec, const SubcommandSpec& sub) {
  reply.bulk(full_name(spec, &sub));
  write_docs(reply, sub.summary, sub.since, spec.group, sub.arguments);
}

void write_command_docs(RespWriter& reply, const CommandSpec& spec) {
  reply.bulk(lower(spec.name));
  const auto subs = subcommands_of(spec);
  write_docs(reply, spec.summary, spec.since, spec.group, spec.arguments, subs.empty() ? 0 : 1);
  if (subs.empty()) return;
  reply.bulk("subcommands");
  reply.map(subs.size());
  for (const SubcommandSpec* sub : subs) write_subcommand_docs(reply, spec, *sub);
}

void answer_info(Argv names, RespWriter& reply) {
  if (names.empty()) {
    reply.array(command_table().size());
    for (const CommandSpec& spec : command_table()) write_info(reply, spec);
    return;
  }
  reply.array(names.size());
  for (const std::string_view name : names) {
    const SubcommandSpec* sub = nullptr;
    const CommandSpec* spec = find_full(name, &sub);
    if (spec == nullptr) {
      reply.null_array();
    } else if (sub != nullptr) {
      write_subcommand(reply, *spec, *sub);
    } else {
      write_info(reply, *spec);
    }
  }
}

void answer_docs(Argv names, RespWriter& reply) {
  std::vector<std::pair<const CommandSpec*, const SubcommandSpec*>> found;
  if (names.empty()) {
    for (const CommandSpec& spec : command_table()) found.emplace_back(&spec, nullptr);
  }
  for (const std::string_view name : names) {
    const SubcommandSpec* sub = nullptr;
    if (const CommandSpec* spec = find_full(name, &sub)) found.emplace_back(spec, sub);
  }
  reply.map(found.size());
  for (const auto& [spec, sub] : found) {
    if (sub != nullptr) {
      write_subcommand_docs(reply, *spec, *sub);
    } else {
      write_command_docs(reply, *spec);
    }
  }
}

void answer_list(Argv argv, RespWriter& reply) {
  std::string_view kind, pattern;
  if (argv.size() == 5 && equals_ignoring_case(argv[2], "FILTERBY")) {
    kind = argv[3];
    pattern = argv[4];
  } else if (argv.size() != 2) {
    return reply.error(kSyntaxError);
  }
  std::vector<std::string> names;
  for (const CommandSpec& spec : command_table()) {
    std::string name = lower(spec.name);
    if (kind.empty()) {
      names.push_back(std::move(name));
    } else if (equals_ignoring_case(kind, "PATTERN")) {
      if (glob_matches(pattern, name)) names.push_back(std::move(name));
    } else if (equals_ignoring_case(kind, "ACLCAT")) {
      for (const auto& [bit, category] : kCategoryNames) {
        if ((spec.categories & bit) && lower(pattern) == category.substr(1)) {
          names.push_back(std::move(name));
          break;
        }
      }
    } else if (!equals_ignoring_case(kind, "MODULE")) {
      return reply.error(kSyntaxError);
    }
  }
  reply.set(names.size());
  for (const std::string& name : names) reply.bulk(name);
}

// Flags that depend on the arguments: whether SET reads the old value, whether BITFIELD writes.
std::string_view resolve_flags(std::string_view flags, Argv command) {
  if (flags.find("variable_flags") == std::string_view::npos) return flags;
  const auto has = [&](std::string_view word) {
    return std::any_of(command.begin() + 2, command.end(),
                       [&](std::string_view argument) { return equals_ignoring_case(argument, word); });
  };
  if (equals_ignoring_case(command[0], "SET")) return has("GET") ? "RW access update" : "OW update";
  return has("SET") || has("INCRBY") ? "RW access update" : "RO access";
}

// GETKEYS, and GETKEYSANDFLAGS `with_flags`.
void answer_getkeys(Argv command, bool with_flags, RespWriter& reply) {
  const CommandSpec* spec = find_command(command[0]);
  if (spec == nullptr) return reply.error("ERR Invalid command specified");
  if (spec->first_key == 0) return reply.error("ERR The command has no key arguments");
  if (!arity_matches(spec->arity, command.size())) {
    return reply.error("ERR Invalid number of arguments specified for command");
  }
  const size_t last =
      spec->last_key < 0 ? command.size() - static_cast<size_t>(-spec->last_key) : static_cast<size_t>(spec->last_key);
  const auto first = static_cast<size_t>(spec->first_key);
  const auto step = static_cast<size_t>(spec->step);
  const auto specs = split(spec->key_flags, '|');
  reply.array((last - first) / step + 1);
  for (size_t i = first; i <= last; i += step) {
    if (with_flags) reply.array(2);
    reply.bulk(command[i]);
    if (!with_flags) continue;
    const auto flags = split(resolve_flags(specs[std::min((i - first) / step, specs.size() - 1)], command), ' ');
    reply.set(flags.size());
    for (const std::string_view flag : flags) reply.status(flag);
  }
}

}  // namespace

// "name" or "container|subcommand".
const CommandSpec* find_full(std::string_view name, const SubcommandSpec** subcommand) {
  const size_t bar = name.find('|');
  const CommandSpec* spec = find_command(name.substr(0, bar));
  *subcommand = nullptr;
  if (spec == nullptr || bar == std::string_view::npos) return spec;
  *subcommand = find_subcommand(spec->name, name.substr(bar + 1));
  return *subcommand == nullptr ? nullptr : spec;
}

bool has_subcommands(const CommandSpec& spec) {
  switch (spec.session) {
    case SessionCommand::kAcl:
    case SessionCommand::kClient:
    case SessionCommand::kCluster:
    case SessionCommand::kCommand:
    case SessionCommand::kConfig:
    case SessionCommand::kLatency:
    case SessionCommand::kMemory:
    case SessionCommand::kModule:
    case SessionCommand::kSlowlog: return true;
    default: return false;
  }
}

std::vector<std::string_view> acl_categories() {
  std::vector<std::string_view> out;
  for (const auto& [bit, name] : kCategoryNames) out.push_back(name.substr(1));
  return out;
}

std::optional<std::vector<std::string>> commands_of_category(std::string_view category) {
  for (const auto& [bit, name] : kCategoryNames) {
    if (lower(category) != name.substr(1)) continue;
    std::vector<std::string> out;
    for (const CommandSpec& spec : command_table()) {
      if (spec.categories & bit) out.push_back(lower(spec.name));
      for (const SubcommandSpec* sub : subcommands_of(spec)) {
        if (sub->categories & bit) out.push_back(full_name(spec, sub));
      }
    }
    return out;
  }
  return std::nullopt;
}

std::string full_name(const CommandSpec& spec, const SubcommandSpec* subcommand) {
  std::string name = lower(spec.name);
  if (subcommand != nullptr) name += "|" + lower(subcommand->name);
  return name;
}

std::string unknown_subcommand_text(const CommandSpec& spec, std::string_view subcommand) {
  if (spec.session == SessionCommand::kCluster) {
    for (const auto& [name, text] : kClusterRefusals) {
      if (equals_ignoring_case(subcommand, name)) return std::string(text);
    }
  }
  return "ERR unknown subcommand '" + std::string(until_zero(subcommand).substr(0, 128)) + "'. Try " +
         std::string(spec.name) + " HELP.";
}

void answer_command(std::string_view subcommand, Argv argv, RespWriter& reply) {
  if (subcommand.empty()) return answer_info({}, reply);
  if (subcommand == "COUNT") return reply.integer(static_cast<int64_t>(command_table().size()));
  if (subcommand == "INFO") return answer_info(argv.subspan(2), reply);
  if (subcommand == "DOCS") return answer_docs(argv.subspan(2), reply);
  if (subcommand == "LIST") return answer_list(argv, reply);
  answer_getkeys(argv.subspan(2), subcommand == "GETKEYSANDFLAGS", reply);
}

void answer_help(const CommandSpec& spec, RespWriter& reply) {
  const auto subs = subcommands_of(spec);
  reply.array(2 * subs.size() + 1);
  reply.status(std::string(spec.name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  for (const SubcommandSpec* sub : subs) {
    const std::string arguments = arguments_text(parse_arguments(sub->arguments));
    reply.status(arguments.empty() ? std::string(sub->name) : std::string(sub->name) + " " + arguments);
    reply.status("    " + std::string(sub->summary));
  }
}

}  // namespace cairn::server
