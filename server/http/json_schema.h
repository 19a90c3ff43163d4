// The part of JSON Schema that the admin API uses: type, enum, const, properties, required, additionalProperties,
// items, minimum, maximum, minLength, maxLength, oneOf, anyOf, and $ref to a name of schemas.json.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::server {

struct SchemaError {
  std::string path;  // "for_s", "nodes.0.id"; empty: the whole value
  std::string what;
};

// components.schemas of the OpenAPI document.
const nlohmann::json& schemas();
// A name of schemas.json as {"$ref": ...}, JSON text as it is.
nlohmann::json schema_of(std::string_view name_or_text);
// nullopt: `value` fits.
std::optional<SchemaError> check_schema(const nlohmann::json& schema, const nlohmann::json& value,
                                        const std::string& path = "");

}  // namespace cairn::server
