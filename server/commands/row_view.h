// What the evaluation of a command may see and do. Implemented by the replica (pending overlay over tablet)
// and, in tests, by an in-memory view.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "storage/tablet.h"

namespace cairn::server {

enum class RowState : uint8_t {
  kFound,
  kAbsent,
  kNeedsRows,  // not in memory; the view has noted it. Evaluation returns EvalStatus::kNeedsRows and is run
               // again later.
};

struct RowResult {
  RowState state = RowState::kAbsent;
  std::string_view
      value;  // valid until this evaluation ends; unaffected by writes of the same evaluation to other rows
};

// Chunk rows that hold a string.
struct ChunksWritten {
  uint64_t version = 0;
  uint32_t chunk_bytes = 0;
};
// A version that no rows have: they are still to be written, and the evaluation is run again then.
inline constexpr uint64_t kChunksToCome = 0;

// Reads see, newest first: writes of this evaluation, effects proposed but not committed, committed rows.
class RowView {
 public:
  virtual ~RowView() = default;
  virtual RowResult get(std::string_view row_key) = 0;
  // Visits the rows with `prefix` in key order. kFound: visited (perhaps none). kNeedsRows: nothing useful
  // was visited.
  virtual RowState scan(std::string_view prefix,
                        const std::function<bool(std::string_view key, std::string_view value)>& visit) = 0;

  // The same for a stretch of rows. Besides kFound: `end.complete` says that the prefix has no more rows, otherwise
  // they were looked at up to `end.reached`. Beyond the page's bounds at most what is not committed yet is visited.
  struct PageEnd {
    bool complete = false;
    std::string reached;
  };
  virtual RowState page(const storage::RowPage& page,
                        const std::function<bool(std::string_view key, std::string_view value)>& visit,
                        PageEnd& end) = 0;
  // The slot behind the last one of the range.
  virtual uint32_t slots_end() const { return 16384; }

  // False: the key of this meta row certainly has no element rows, so it may be overwritten without being
  // read.
  virtual bool may_be_exploded(std::string_view /*meta_key*/) { return true; }

  // Effects. Visible to later reads of this evaluation and of later ones.
  virtual void put(std::string_view row_key, std::string_view value) = 0;
  virtual void remove(std::string_view row_key) = 0;
  virtual void remove_prefix(std::string_view prefix) = 0;
  virtual void clear_all() = 0;  // every row of the range

  // Strings and values of fields of more bytes are kept in chunk rows.
  virtual uint64_t whole_bytes_max() const { return ~0ull; }
  // Writes chunk rows for the text `head` + `tail` of the key that `key_prefix` (append_key_prefix()) stands for,
  // under a fresh version, where nobody sees them before a meta row or element row names it. `owner`: 0, or the version
  // of the collection that it will be an element of. kChunksToCome: the effects of this evaluation are void, it is run
  // again when the rows are there.
  virtual ChunksWritten write_chunks(std::string_view key_prefix, uint64_t owner, std::string_view head,
                                     std::string_view tail) = 0;
  // A fresh version for a new collection of the key that is going to own chunk rows. When the evaluation is run again
  // because of these, it is given the same ones in the same order.
  virtual uint64_t next_owner(std::string_view key_prefix) = 0;
  // Keeps bytes until the evaluation ends.
  std::string_view keep(std::string bytes) { return kept_.emplace_back(std::move(bytes)); }

  // Written by this evaluation and by others of its log entry.
  struct Effects {
    size_t bytes = 0;
    size_t count = 0;
  };
  virtual Effects written() const = 0;

  // This evaluation, among all of one leadership of one range.
  struct Moment {
    uint64_t range = 0;
    uint64_t term = 0;
    uint64_t leadership = 0;  // a term may have several
    uint64_t number = 0;      // grows
  };
  // From now on changed_since() can tell. `key_prefix`: what the rows of the key begin with (append_key_prefix()).
  virtual Moment watch(std::string_view key_prefix) = 0;
  // True: some row of the key was written after the evaluation that watched it, or this leader cannot tell.
  virtual bool changed_since(std::string_view key_prefix, const Moment& moment) = 0;

  // A fresh version for a collection, larger than any given before in this range. Part of the replicated
  // state.
  virtual uint64_t next_version() = 0;
  // Milliseconds since 1970 by the leader, never before the newest applied entry. Expiry is judged and
  // stamped by it.
  virtual uint64_t now_ms() const = 0;
  // A number drawn evenly from all. Another one when the evaluation is run again; only effects are replicated.
  virtual uint64_t random() = 0;

 protected:
  void drop_kept() { kept_.clear(); }

 private:
  std::deque<std::string> kept_;
};

}  // namespace cairn::server
