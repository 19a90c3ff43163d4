// Puts replies of one connection in the order of its commands, although some arrive late.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "server/commands/command.h"

namespace cairn::server {

// How the replies of the parts of a scattered command become one.
struct Scatter {
  const CommandSpec* spec = nullptr;
  std::vector<uint32_t> part_of_key;  // in the order of the keys
  uint32_t parts = 0;
  uint32_t parts_left = 0;
  std::vector<size_t> places;  // scratch of the merge: what of each part was used
};

// What is to be known of a command when its reply has come: how long it took, and what it was.
struct CommandTrace {
  const CommandSpec* spec = nullptr;  // null: nobody asks
  const SubcommandSpec* subcommand = nullptr;
  Instant started = 0;
  std::string arguments;  // packed (slow_log.h); empty where nothing is logged
};

class ReplyObserver {
 public:
  virtual ~ReplyObserver() = default;
  // The reply of a command that was traced has come; not called for replies that were there at once.
  virtual void late_reply(const CommandTrace& trace, std::string_view reply) = 0;
};

// A ring of slots, one for each command whose reply cannot leave yet and one for each part of a scattered
// one. Slots keep their memory, so that a busy connection allocates nothing.
//
// Thread safety: none. Ownership: of the waiting replies; the output string is the session's.
class ReplyQueue {
 public:
  // `observer` outlives this.
  ReplyQueue(std::string& output, ReplyObserver& observer) : output_(output), observer_(observer) {}

  // Replies of commands opened from now on are not sent (CLIENT REPLY).
  void set_muted(bool muted) { muted_ = muted; }
  // The trace of an open reply, to be filled in. It keeps its memory. Requires: is_open().
  CommandTrace& trace(uint64_t sequence) { return at(sequence).trace; }

  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  uint64_t oldest() const { return head_; }  // replies of all earlier sequences have left
  // Replies that wait for an earlier one, and requests whose reply has not come; in bytes.
  size_t held_bytes() const { return reply_bytes_ + request_bytes_; }
  // What the replies that are still to come will take, by the size of those that came late so far: the largest,
  // forgotten by a quarter with each smaller one. The first of a connection may be large.
  size_t expected_bytes() const { return waiting_ * late_bytes_; }

  // Where a reply that is known now is to be written: the output, or behind what is waiting. Call settle()
  // afterwards.
  std::string& immediate();
  // Reserves the place of a reply that may come later. `request_bytes` counts until it comes.
  uint64_t open(size_t request_bytes);
  // Where the reply of `sequence` may be written at once: the output if nothing is ahead of it. Requires:
  // just opened.
  std::string& target(uint64_t sequence);
  // The reply of `sequence` is complete in its target.
  void finish(uint64_t sequence);
  // The reply of `sequence`, from elsewhere. Unknown or answered before: ignored, false.
  bool deliver(uint64_t sequence, std::string_view bytes);
  // True until its reply is complete.
  bool is_open(uint64_t sequence) const;

  // A scattered command: a parent slot followed by `parts` part slots (parent + 1 ...). The parent's reply is
  // merged when the last part has come.
  uint64_t open_scatter(const CommandSpec& spec, std::vector<uint32_t>& part_of_key, uint32_t parts,
                        size_t request_bytes);

  // Gives its memory back. Requires: empty().
  void trim();

  // Accounts for what was written into immediate().
  void settle();

 private:
  struct Slot {
    std::string bytes;
    size_t counted = 0;        // of `bytes`, in reply_bytes_
    size_t request_bytes = 0;  // in request_bytes_
    uint64_t parent = kNoParent;
    std::unique_ptr<Scatter> scatter;
    CommandTrace trace;
    bool done = false;
    bool muted = false;
  };
  static constexpr uint64_t kNoParent = ~uint64_t{0};

  Slot& at(uint64_t sequence) { return ring_[sequence & (ring_.size() - 1)]; }
  const Slot& at(uint64_t sequence) const { return ring_[sequence & (ring_.size() - 1)]; }
  bool contains(uint64_t sequence) const { return sequence - head_ < count_; }
  void grow();
  void complete(uint64_t sequence);
  void drain();
  void merge(uint64_t parent);
  void tell(Slot& slot, std::string_view reply);

  std::string& output_;
  ReplyObserver& observer_;
  bool muted_ = false;
  std::string unheard_;     // where a muted reply is written
  std::vector<Slot> ring_;  // a power of two, or empty
  uint64_t head_ = 0;       // sequence of the oldest slot
  size_t count_ = 0;
  size_t reply_bytes_ = 0;
  size_t request_bytes_ = 0;
  size_t waiting_ = 0;  // slots without a reply
  size_t late_bytes_ = 512 * 1024;
  std::vector<std::unique_ptr<Scatter>> spare_scatters_;
};

}  // namespace cairn::server
