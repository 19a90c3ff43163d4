// Changes of the set of SSTables, and the state they add up to. Pure; encoded as in docs/formats/manifest.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/codec.h"
#include "storage/compaction/strategy.h"
#include "storage/tablet.h"

namespace cairn::storage {

// See SstableInfo::begin.
struct TableBounds {
  uint64_t id = 0;
  bool shared = false;
  std::string begin, end;
};

// One tablet's part of an atomic edit. A tablet is named by its life: a number that is never used again, so
// that an edit of a dropped or replaced tablet that comes late finds nothing to change.
struct TabletEdit {
  uint64_t life = 0;
  std::optional<RangeId> created;
  bool dropped = false;
  std::vector<uint64_t> removed;  // ids of tables
  std::vector<SstableInfo> added;
  std::optional<AppliedPosition> flushed;
  // Tables whose rows below a key have moved elsewhere. Applied last: `added` may name them with another run or level.
  std::vector<std::pair<uint64_t, std::string>> trimmed;
  std::vector<TableBounds> bounded;  // applied last too
  std::vector<uint64_t> ingested;    // likewise; see SstableInfo::ingested
  uint64_t clear_sequence = 0;       // every table that is wholly older goes; 0 = none

  // With all that put_info() leaves out.
  void add(const SstableInfo& info);
};

struct TabletState {
  RangeId range;
  std::map<uint64_t, SstableInfo> tables;  // by id
  AppliedPosition flushed;
};

struct ManifestState {
  std::map<uint64_t, TabletState> tablets;  // by life
  uint64_t last_life = 0;
  uint64_t last_table = 0;

  // False if an edit refers to a life or a table that is gone.
  bool fits(const std::vector<TabletEdit>& edits) const;
  // The same answer; false: nothing changed.
  bool apply(const std::vector<TabletEdit>& edits);
  TabletEdit snapshot(uint64_t life) const;
};

void put_info(std::string& out, const SstableInfo& info);
SstableInfo get_info(Decoder& in);
void put_position(std::string& out, const AppliedPosition& position);
AppliedPosition get_position(Decoder& in);
std::string encode_edits(const std::vector<TabletEdit>& edits);
std::optional<std::vector<TabletEdit>> decode_edits(std::string_view bytes);  // nullopt: malformed
std::string describe(const TabletEdit& edit);

// Bits of the incompatible features of manifests and snapshot manifests.
inline constexpr uint32_t kFeatureTrimmed = 1;   // tables may be trimmed: their files hold rows that do not count
inline constexpr uint32_t kFeatureBounded = 2;   // tables may have bounds
inline constexpr uint32_t kFeatureIngested = 4;  // rows of tables may count as newer than their files say
inline constexpr uint32_t kManifestFeaturesKnown = kFeatureTrimmed | kFeatureBounded | kFeatureIngested;
uint32_t features_of(const SstableInfo& info);

}  // namespace cairn::storage
