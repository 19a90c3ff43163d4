// A configuration as text: for people, for editors (JSON Schema), and back into its file.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "config/node_config.h"

namespace cairn::config {
namespace {

template <size_t N>
std::string with_unit(uint64_t value, const std::pair<uint64_t, std::string_view> (&units)[N]) {
  for (const auto& [size, name] : units) {
    if (value != 0 && value % size == 0) return std::to_string(value / size) + std::string(name);
  }
  return std::to_string(value);
}

constexpr std::pair<uint64_t, std::string_view> kSizes[] = {
    {1ull << 40, "TiB"}, {1ull << 30, "GiB"}, {1ull << 20, "MiB"}, {1ull << 10, "KiB"}};
constexpr std::pair<uint64_t, std::string_view> kTimes[] = {
    {3600 * kSecond, "h"}, {60 * kSecond, "m"}, {kSecond, "s"}, {kMillisecond, "ms"}, {kMicrosecond, "us"}};

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::vector<std::string> choices(std::string_view range) {
  std::stringstream words{std::string(range)};
  std::vector<std::string> out;
  for (std::string word; words >> word;) {
    if (word != "|") out.push_back(word);
  }
  return out;
}

// The schema of one value, without braces.
std::string schema_of(const KeySpec& key) {
  const NodeConfig defaults;
  std::string out = "\"description\": " + json_text(std::string(key.help) + " (" + std::string(key.range) + ")");
  const auto pattern = [&](std::string_view regex) {
    out += ", \"type\": \"string\", \"pattern\": " + json_text(regex);
  };
  switch (key.kind) {
    case KeyKind::kText:
    case KeyKind::kSecret: out += ", \"type\": [\"string\", \"number\", \"boolean\"]"; break;
    case KeyKind::kAddress: pattern("^.+:[0-9]{1,5}$"); break;
    case KeyKind::kBool: out += ", \"type\": \"boolean\""; break;
    case KeyKind::kCount:
      out += ", \"type\": \"integer\", \"minimum\": " + std::to_string(key.low) +
             ", \"maximum\": " + std::to_string(key.high);
      break;
    case KeyKind::kBytes:
      out += ", \"type\": [\"string\", \"integer\"], \"pattern\": \"^[0-9]+ ?([kKmMgGtT]([iI]?[bB])?|[bB])?$\"";
      break;
    case KeyKind::kDuration:
      out += ", \"type\": [\"string\", \"integer\"], \"pattern\": \"^([0-9]+(us|ms|s|m|h)|0)$\"";
      break;
    case KeyKind::kChoice: {
      out += ", \"enum\": [";
      bool first = true;
      for (const std::string& choice : choices(key.range)) {
        out += (first ? "" : ", ") + json_text(choice);
        first = false;
      }
      out += "]";
    }
  }
  if (key.kind == KeyKind::kSecret) return out + ", \"writeOnly\": true";
  const std::string value = value_text(defaults, key);
  if (value.empty()) return out;
  const bool bare = key.kind == KeyKind::kBool || key.kind == KeyKind::kCount;
  return out + ", \"default\": " + (bare ? value : json_text(value));
}

// A plain scalar where YAML reads it back as the same text, else a quoted one.
std::string yaml_scalar(const std::string& value) {
  YAML::Emitter out;
  out << value;
  return out.c_str();
}

struct Line {
  size_t indent = 0;
  std::string key;      // empty: not "key: ..."
  size_t value_at = 0;  // position behind the colon and its blanks
  size_t value_end = 0;
};

// Position behind the quoted text that begins at `at`; npos: there is none, or it does not end in this line.
size_t closing_quote(const std::string& text, size_t at) {
  if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return std::string::npos;
  const char quote = text[at];
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (quote == '"' || i + 1 == text.size() || text[i + 1] != quote) return i + 1;
      ++i;  // '' in single quotes is one of them
    }
  }
  return std::string::npos;
}

// Reads "  key: value  # comment" without understanding YAML; what it misreads shows when the result is loaded again.
Line read_line(const std::string& text) {
  Line line;
  line.indent = text.find_first_not_of(' ');
  if (line.indent == std::string::npos || text[line.indent] == '#') return {};
  const size_t colon = text.find(':', line.indent);
  if (colon == std::string::npos || (colon + 1 < text.size() && text[colon + 1] != ' ')) return {};
  line.key = text.substr(line.indent, colon - line.indent);
  line.value_at = std::min(text.find_first_not_of(' ', colon + 1), text.size());
  size_t end = closing_quote(text, line.value_at);
  if (end == std::string::npos) {
    end = line.value_at < text.size() && text[line.value_at] == '#' ? line.value_at : text.find(" #", line.value_at);
  }
  line.value_end = std::max(line.value_at, std::min(end, text.size()));
  while (line.value_end > line.value_at && text[line.value_end - 1] == ' ') --line.value_end;
  return line;
}

}  // namespace

std::string value_text(const NodeConfig& config, const KeySpec& key) {
  if (is_text(key.kind)) return key.text_of(config);
  const uint64_t value = key.number_of(config);
  switch (key.kind) {
    case KeyKind::kBool: return value != 0 ? "true" : "false";
    case KeyKind::kBytes: return with_unit(value, kSizes);
    case KeyKind::kDuration: return with_unit(value, kTimes);
    default: return std::to_string(value);
  }
}

std::string shown_value(const NodeConfig& config, const KeySpec& key) {
  const std::string value = value_text(config, key);
  return key.kind == KeyKind::kSecret && !value.empty() ? "(set)" : value;
}

std::string show(const NodeConfig& config) {
  size_t widest = 0;
  for (const KeySpec& key : key_specs()) widest = std::max(widest, key.name.size() + shown_value(config, key).size());
  std::string out;
  for (const KeySpec& key : key_specs()) {
    const auto origin = config.origins.find(std::string(key.name));
    const std::string line = std::string(key.name) + ": " + shown_value(config, key);
    out += line + std::string(widest + 4 - line.size(), ' ') + "# " +
           (origin == config.origins.end() ? "default" : origin->second) + "\n";
  }
  return out;
}

std::string json_schema() {
  std::map<std::string, std::string> top;                            // key or group -> schema
  std::map<std::string, std::map<std::string, std::string>> groups;  // group -> key -> schema
  for (const KeySpec& key : key_specs()) {
    const std::string name(key.name);
    const size_t dot = name.find('.');
    if (dot == std::string::npos) {
      top[name] = "{" + schema_of(key) + "}";
    } else {
      groups[name.substr(0, dot)][name.substr(dot + 1)] = "{" + schema_of(key) + "}";
    }
  }
  const auto properties = [](const auto& members, const std::string& indent) {
    std::string out;
    for (const auto& [name, schema] : members) {
      out += (out.empty() ? "" : ",\n") + indent + json_text(name) + ": " + schema;
    }
    return out;
  };
  for (const auto& [group, members] : groups) {
    top[group] = "{\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n      \"properties\": {\n" +
                 properties(members, "        ") + "\n      }\n    }";
  }
  return "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
         "  \"title\": \"Configuration of a Cairn node\",\n  \"type\": \"object\",\n"
         "  \"additionalProperties\": false,\n  \"required\": [\"data_dir\"],\n  \"properties\": {\n" +
         properties(top, "    ") + "\n  }\n}\n";
}

std::string rewritten(const std::string& text, const NodeConfig& config) {
  std::vector<std::string> lines;
  std::stringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::map<std::string, std::pair<size_t, size_t>> groups;  // name -> (line, indent of its keys)
  std::map<std::string, size_t> places;                     // key -> line
  std::string group;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line line = read_line(lines[i]);
    if (line.key.empty()) continue;
    if (line.indent == 0) {
      group = line.value_at == line.value_end ? line.key : "";
      if (!group.empty()) groups[group] = {i, 2};
      if (find_key(line.key) != nullptr) places[line.key] = i;
    } else if (!group.empty()) {
      groups[group].second = line.indent;
      places[group + "." + line.key] = i;
    }
  }
  const NodeConfig defaults;
  std::map<size_t, std::string, std::greater<>> inserted;  // before this line
  std::string appended;
  std::map<std::string, std::string> fresh_groups;
  for (const KeySpec& key : key_specs()) {
    const std::string name(key.name), value = value_text(config, key);
    const auto origin = config.origins.find(name);
    if (origin == config.origins.end() || origin->second != kRuntime) continue;
    const auto place = places.find(name);
    if (place != places.end()) {
      std::string& line = lines[place->second];
      const Line parts = read_line(line);
      const bool blank = parts.value_at == parts.value_end && line[parts.value_at - 1] != ' ';
      line.replace(parts.value_at, parts.value_end - parts.value_at, (blank ? " " : "") + yaml_scalar(value));
      continue;
    }
    if (value == value_text(defaults, key)) continue;
    const size_t dot = name.find('.');
    if (dot == std::string::npos) {
      appended += name + ": " + yaml_scalar(value) + "\n";
    } else if (const auto known = groups.find(name.substr(0, dot)); known != groups.end()) {
      inserted[known->second.first + 1] +=
          std::string(known->second.second, ' ') + name.substr(dot + 1) + ": " + yaml_scalar(value) + "\n";
    } else {
      fresh_groups[name.substr(0, dot)] += "  " + name.substr(dot + 1) + ": " + yaml_scalar(value) + "\n";
    }
  }
  std::string out;
  for (size_t i = 0; i <= lines.size(); ++i) {
    if (const auto more = inserted.find(i); more != inserted.end()) out += more->second;
    if (i < lines.size()) out += lines[i] + "\n";
  }
  out += appended;
  for (const auto& [name, members] : fresh_groups) out += name + ":\n" + members;
  return out;
}

}  // namespace cairn::config
