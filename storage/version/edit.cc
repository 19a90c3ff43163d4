#include "storage/version/edit.h"

#include <algorithm>

namespace cairn::storage {
namespace {
enum Field : uint8_t {
  kEnd = 0,
  kCreated = 1,
  kDropped = 2,
  kRemoved = 3,
  kAdded = 4,
  kFlushed = 5,
  kClear = 6,
  kTrimmed = 7,
  kBounded = 8,
  kIngested = 9
};
constexpr uint8_t kSharedFlag = 1;
}  // namespace

uint32_t features_of(const SstableInfo& info) {
  return (info.trimmed ? kFeatureTrimmed : 0) | (info.bounded() ? kFeatureBounded : 0) |
         (info.ingested ? kFeatureIngested : 0);
}

void TabletEdit::add(const SstableInfo& info) {
  added.push_back(info);
  if (info.trimmed) trimmed.emplace_back(info.id, info.smallest);
  if (info.bounded()) bounded.push_back({info.id, info.shared, info.begin, info.end});
  if (info.ingested) ingested.push_back(info.id);
}

bool ManifestState::fits(const std::vector<TabletEdit>& edits) const {
  for (const auto& edit : edits) {
    const auto it = tablets.find(edit.life);
    if (edit.created ? it != tablets.end() : it == tablets.end()) return false;
    for (const uint64_t id : edit.removed) {
      if (it == tablets.end() || !it->second.tables.contains(id)) return false;
    }
    const auto there = [&](uint64_t id) {
      const bool added = std::ranges::any_of(edit.added, [&](const auto& info) { return info.id == id; });
      return added || (it != tablets.end() && it->second.tables.contains(id));
    };
    for (const auto& [id, key] : edit.trimmed) {
      if (!there(id)) return false;
    }
    for (const TableBounds& bounds : edit.bounded) {
      if (!there(bounds.id)) return false;
    }
    if (!std::ranges::all_of(edit.ingested, there)) return false;
  }
  return true;
}

bool ManifestState::apply(const std::vector<TabletEdit>& edits) {
  if (!fits(edits)) return false;
  for (const auto& edit : edits) {
    last_life = std::max(last_life, edit.life);
    if (edit.dropped) {
      tablets.erase(edit.life);
      continue;
    }
    TabletState& tablet = tablets[edit.life];
    if (edit.created) tablet.range = *edit.created;
    for (const uint64_t id : edit.removed) tablet.tables.erase(id);
    std::erase_if(tablet.tables, [&](const auto& t) { return t.second.max_sequence.value < edit.clear_sequence; });
    for (const auto& info : edit.added) {
      tablet.tables[info.id] = info;
      last_table = std::max(last_table, info.id);
    }
    for (const auto& [id, key] : edit.trimmed) {
      const auto it = tablet.tables.find(id);
      if (it == tablet.tables.end()) continue;
      it->second.smallest = key;
      it->second.trimmed = true;
    }
    for (const TableBounds& bounds : edit.bounded) {
      const auto it = tablet.tables.find(bounds.id);
      if (it == tablet.tables.end()) continue;
      it->second.shared = bounds.shared;
      it->second.begin = bounds.begin;
      it->second.end = bounds.end;
    }
    for (const uint64_t id : edit.ingested) {
      const auto it = tablet.tables.find(id);
      if (it != tablet.tables.end()) it->second.ingested = true;
    }
    if (edit.flushed) tablet.flushed = *edit.flushed;
  }
  return true;
}

TabletEdit ManifestState::snapshot(uint64_t life) const {
  const TabletState& tablet = tablets.at(life);
  TabletEdit edit;
  edit.life = life;
  edit.created = tablet.range;
  edit.flushed = tablet.flushed;
  for (const auto& [id, info] : tablet.tables) edit.add(info);
  return edit;
}

void put_info(std::string& out, const SstableInfo& info) {
  put_varint(out, info.id);
  put_varint(out, info.run);
  put_varint(out, info.level);
  put_bytes(out, info.smallest);
  put_bytes(out, info.largest);
  put_varint(out, info.bytes);
  put_varint(out, info.entries);
  put_varint(out, info.tombstones);
  put_varint(out, info.min_sequence.value);
  put_varint(out, info.max_sequence.value);
  put_varint(out, info.min_time_ms);
  put_varint(out, info.max_time_ms);
}

SstableInfo get_info(Decoder& in) {
  SstableInfo info;
  info.id = in.varint();
  info.run = in.varint();
  info.level = static_cast<uint32_t>(in.varint());
  info.smallest = in.bytes();
  info.largest = in.bytes();
  info.bytes = in.varint();
  info.entries = in.varint();
  info.tombstones = in.varint();
  info.min_sequence = in.number<SequenceNumberTag>();
  info.max_sequence = in.number<SequenceNumberTag>();
  info.min_time_ms = in.varint();
  info.max_time_ms = in.varint();
  return info;
}

void put_position(std::string& out, const AppliedPosition& position) {
  put_varint(out, position.index.value);
  put_varint(out, position.term.value);
  put_varint(out, position.time_ms);
  put_varint(out, position.version_counter);
}

AppliedPosition get_position(Decoder& in) {
  AppliedPosition position;
  position.index = in.number<LogIndexTag>();
  position.term = in.number<TermTag>();
  position.time_ms = in.varint();
  position.version_counter = in.varint();
  return position;
}

std::string encode_edits(const std::vector<TabletEdit>& edits) {
  std::string out;
  put_varint(out, edits.size());
  for (const auto& edit : edits) {
    put_varint(out, edit.life);
    if (edit.created) {
      put_u8(out, kCreated);
      put_varint(out, edit.created->value);
    }
    if (edit.dropped) put_u8(out, kDropped);
    for (const uint64_t id : edit.removed) {
      put_u8(out, kRemoved);
      put_varint(out, id);
    }
    for (const auto& info : edit.added) {
      put_u8(out, kAdded);
      put_info(out, info);
    }
    for (const auto& [id, key] : edit.trimmed) {
      put_u8(out, kTrimmed);
      put_varint(out, id);
      put_bytes(out, key);
    }
    for (const TableBounds& bounds : edit.bounded) {
      put_u8(out, kBounded);
      put_varint(out, bounds.id);
      put_u8(out, bounds.shared ? kSharedFlag : 0);
      put_bytes(out, bounds.begin);
      put_bytes(out, bounds.end);
    }
    for (const uint64_t id : edit.ingested) {
      put_u8(out, kIngested);
      put_varint(out, id);
    }
    if (edit.flushed) {
      put_u8(out, kFlushed);
      put_position(out, *edit.flushed);
    }
    if (edit.clear_sequence != 0) {
      put_u8(out, kClear);
      put_varint(out, edit.clear_sequence);
    }
    put_u8(out, kEnd);
  }
  return out;
}

std::optional<std::vector<TabletEdit>> decode_edits(std::string_view bytes) {
  std::vector<TabletEdit> edits;
  Decoder in(bytes);
  for (uint64_t n = in.varint(); n > 0 && in.ok(); --n) {
    TabletEdit& edit = edits.emplace_back();
    edit.life = in.varint();
    for (uint8_t field = in.u8(); in.ok() && field != kEnd; field = in.u8()) {
      switch (field) {
        case kCreated: edit.created = in.number<RangeIdTag>(); break;
        case kDropped: edit.dropped = true; break;
        case kRemoved: edit.removed.push_back(in.varint()); break;
        case kAdded: edit.added.push_back(get_info(in)); break;
        case kFlushed: edit.flushed = get_position(in); break;
        case kClear: edit.clear_sequence = in.varint(); break;
        case kTrimmed: {
          const uint64_t id = in.varint();
          edit.trimmed.emplace_back(id, in.bytes());
          break;
        }
        case kBounded: {
          TableBounds& bounds = edit.bounded.emplace_back();
          bounds.id = in.varint();
          const uint8_t flags = in.u8();
          if ((flags & ~kSharedFlag) != 0) in.fail();
          bounds.shared = flags == kSharedFlag;
          bounds.begin = in.bytes();
          bounds.end = in.bytes();
          break;
        }
        case kIngested: edit.ingested.push_back(in.varint()); break;
        default: in.fail();
      }
    }
  }
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return edits;
}

std::string describe(const TabletEdit& edit) {
  std::string out = "tablet life " + std::to_string(edit.life);
  if (edit.created) out += " created for range " + std::to_string(edit.created->value);
  if (edit.dropped) out += " dropped";
  for (const uint64_t id : edit.removed) out += " -" + std::to_string(id);
  for (const auto& info : edit.added) {
    out += " +" + std::to_string(info.id) + " (run " + std::to_string(info.run) + ", " + std::to_string(info.entries) +
           " rows, " + std::to_string(info.bytes) + " bytes)";
  }
  for (const auto& [id, key] : edit.trimmed) {
    out += " " + std::to_string(id) + " trimmed to " + std::to_string(key.size()) + " bytes of key";
  }
  for (const TableBounds& bounds : edit.bounded) {
    out += " " + std::to_string(bounds.id) + (bounds.shared ? " shared" : "") + " bounded by " +
           std::to_string(bounds.begin.size()) + " and " + std::to_string(bounds.end.size()) + " bytes of key";
  }
  for (const uint64_t id : edit.ingested) out += " " + std::to_string(id) + " ingested";
  if (edit.flushed) {
    out += " flushed index " + std::to_string(edit.flushed->index.value) + " term " +
           std::to_string(edit.flushed->term.value);
  }
  if (edit.clear_sequence != 0) out += " clear below sequence " + std::to_string(edit.clear_sequence);
  return out;
}

}  // namespace cairn::storage
