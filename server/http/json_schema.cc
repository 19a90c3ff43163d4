#include "server/http/json_schema.h"

#include "server/http/embedded.h"

namespace cairn::server {
namespace {

using nlohmann::json;

constexpr std::string_view kReference = "#/components/schemas/";

std::string below(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  return type == "null" && value.is_null();
}

std::optional<SchemaError> check_type(const json& schema, const json& value, const std::string& path) {
  const auto type = schema.find("type");
  if (type == schema.end()) return std::nullopt;
  if (type->is_string()) {
    if (has_type(value, *type)) return std::nullopt;
    return SchemaError{path, "must be of type " + type->get<std::string>()};
  }
  for (const json& one : *type) {
    if (has_type(value, one)) return std::nullopt;
  }
  return SchemaError{path, "must be of one of the types " + type->dump()};
}

std::optional<SchemaError> check_scalar(const json& schema, const json& value, const std::string& path) {
  if (const auto choices = schema.find("enum"); choices != schema.end()) {
    bool found = false;
    for (const json& choice : *choices) found = found || choice == value;
    if (!found) return SchemaError{path, "must be one of " + choices->dump()};
  }
  if (value.is_number()) {
    if (schema.contains("minimum") && value < schema["minimum"]) {
      return SchemaError{path, "must be at least " + schema["minimum"].dump()};
    }
    if (schema.contains("maximum") && value > schema["maximum"]) {
      return SchemaError{path, "must be at most " + schema["maximum"].dump()};
    }
  }
  if (value.is_string()) {
    const size_t length = value.get_ref<const std::string&>().size();
    if (length < schema.value("minLength", size_t{0})) return SchemaError{path, "is too short"};
    if (length > schema.value("maxLength", ~size_t{0})) return SchemaError{path, "is too long"};
  }
  return std::nullopt;
}

std::optional<SchemaError> check_object(const json& schema, const json& value, const std::string& path) {
  for (const json& name : schema.value("required", json::array())) {
    if (!value.contains(name)) return SchemaError{below(path, name), "is missing"};
  }
  const json properties = schema.value("properties", json::object());
  const auto rest = schema.find("additionalProperties");
  for (const auto& [name, member] : value.items()) {
    if (const auto known = properties.find(name); known != properties.end()) {
      if (auto error = check_schema(*known, member, below(path, name))) return error;
    } else if (rest != schema.end() && rest->is_boolean() && !rest->get<bool>()) {
      return SchemaError{below(path, name), "is not known here"};
    } else if (rest != schema.end() && rest->is_object()) {
      if (auto error = check_schema(*rest, member, below(path, name))) return error;
    }
  }
  return std::nullopt;
}

}  // namespace

const json& schemas() {
  static const json parsed = json::parse(kSchemasJson);
  return parsed;
}

json schema_of(std::string_view name_or_text) {
  if (name_or_text.empty()) return {{"type", "string"}};
  if (name_or_text.front() == '{') return json::parse(name_or_text);
  return {{"$ref", std::string(kReference) + std::string(name_or_text)}};
}

std::optional<SchemaError> check_schema(const json& schema, const json& value, const std::string& path) {
  if (const auto reference = schema.find("$ref"); reference != schema.end()) {
    return check_schema(schemas().at(reference->get<std::string>().substr(kReference.size())), value, path);
  }
  for (const char* several : {"oneOf", "anyOf"}) {
    const auto alternatives = schema.find(several);
    if (alternatives == schema.end()) continue;
    std::optional<SchemaError> last;
    for (const json& one : *alternatives) {
      last = check_schema(one, value, path);
      if (!last) break;
    }
    if (last) return last;
  }
  if (auto error = check_type(schema, value, path)) return error;
  if (auto error = check_scalar(schema, value, path)) return error;
  if (value.is_object()) return check_object(schema, value, path);
  if (value.is_array() && schema.contains("items")) {
    size_t number = 0;
    for (const json& item : value) {
      if (auto error = check_schema(schema["items"], item, below(path, std::to_string(number++)))) return error;
    }
  }
  return std::nullopt;
}

}  // namespace cairn::server
