// The live part of one group's log, in memory: the entries after `start`. Terms never decrease along it.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "base/types.h"
#include "consensus/message.h"

namespace cairn::consensus::raft {

class LogView {
 public:
  LogView(LogIndex start_index, Term start_term)
      : start_index_(start_index), start_term_(start_term), held_from_(start_index.next()) {}

  LogIndex start_index() const { return start_index_; }
  Term start_term() const { return start_term_; }
  LogIndex first_index() const { return start_index_.next(); }
  LogIndex last_index() const { return {start_index_.value + entries_.size()}; }
  Term last_term() const { return entries_.empty() ? start_term_ : entries_.back().term; }
  uint64_t bytes() const { return bytes_; }  // of the payloads that are held
  // Entries from here on have their payloads; earlier ones only their place, term and type.
  LogIndex held_from() const { return held_from_; }

  // The term at `index`; nullopt outside [start_index, last_index].
  std::optional<Term> term_at(LogIndex index) const;
  // Requires: first_index() <= index <= last_index().
  const Entry& at(LogIndex index) const { return entries_[index.value - start_index_.value - 1]; }

  // Requires: entry.index == last_index() + 1, entry.term >= last_term().
  void append(Entry entry);
  // Drops `from` and everything after it. Requires: from > start_index().
  void truncate_from(LogIndex from);
  // Forgets everything up to `index`. Requires: index <= last_index().
  void compact_to(LogIndex index);
  // Forgets payloads, oldest first, of entries up to `index` until at most `bytes` are held.
  void release(LogIndex index, uint64_t bytes);
  // Forgets everything; the log begins anew after (index, term).
  void reset(LogIndex index, Term term);

  // The last position at or below `index` whose term is at most `term`: the only place where a log that has
  // `term` there can still agree. Not below start_index(). (Skips whole term runs, as the end of Raft 5.3
  // suggests.)
  LogIndex last_at_most(LogIndex index, Term term) const;

 private:
  LogIndex start_index_;
  Term start_term_;
  LogIndex held_from_;  // first_index() .. last_index() + 1
  std::deque<Entry> entries_;
  uint64_t bytes_ = 0;
};

}  // namespace cairn::consensus::raft
