// The fields of an inline hash, as they stand in its meta row (row_format.h).
#pragma once

#include <string_view>
#include <vector>

#include "base/codec.h"
#include "server/commands/key_access.h"

namespace cairn::server {

struct HashField {
  std::string_view name;
  std::string_view value;
  size_t order = 0;  // only where many fields are sorted
};

// False: malformed. The views point into `payload`.
inline bool decode_fields(std::string_view payload, std::vector<HashField>& fields) {
  Decoder in(payload);
  while (!in.at_end()) {
    const std::string_view name = in.bytes();
    const std::string_view value = in.bytes();
    if (!in.ok()) return false;
    fields.push_back({name, value, 0});
  }
  return in.ok();
}

// Goes on with a hash or an absent key.
inline Answered load_hash(EvalContext& ctx, KeyAccess& key) {
  Answered answered = load_key(ctx, key);
  if (!answered && key.found() && !key.meta().is_hash()) answered = fail(ctx, kWrongType);
  return answered;
}

}  // namespace cairn::server
