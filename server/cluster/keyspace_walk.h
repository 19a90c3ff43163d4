// SCAN, KEYS and RANDOMKEY: asks one range after another for pages of keys and puts their replies together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/types.h"
#include "server/commands/scan.h"

namespace cairn::server {

class KeyspaceWalkHost {
 public:
  virtual ~KeyspaceWalkHost() = default;
  virtual Instant now() const = 0;
  virtual uint64_t random() = 0;
  // Runs kScanRangeCommand on the leader of the slot's range. `done` gets the reply, never inside this call; not at all
  // if the node goes first.
  virtual void ask_range(Argv argv, uint16_t slot, std::function<void(std::string_view reply)> done) = 0;
  // Somebody still waits for the reply.
  virtual bool wanted(uint64_t walk) const = 0;
};

// One command. Lives until its reply is given, or nobody wants it any more. Thread safety: on the range loop.
class KeyspaceWalk : public std::enable_shared_from_this<KeyspaceWalk> {
 public:
  using Done = std::function<void(std::string_view reply)>;

  // `id`: for KeyspaceWalkHost::wanted(). Requires: scan_error() finds nothing wrong. The arguments are copied; `done`
  // is never called inside this call.
  static void start(KeyspaceWalkHost& host, uint64_t id, const CommandSpec& spec, Argv argv, int proto, Done done);

 private:
  enum class Kind : uint8_t { kScan, kKeys, kRandomKey };

  KeyspaceWalk(KeyspaceWalkHost& host, uint64_t id, Kind kind, int proto, Done done)
      : host_(host), id_(id), kind_(kind), proto_(proto), done_(std::move(done)) {}
  void set_out(Argv argv);
  void ask();
  void page(std::string_view reply);
  void more(uint64_t looked_at);  // after a page: goes on, or answers
  void finish();
  void fail(std::string_view error);

  KeyspaceWalkHost& host_;
  const uint64_t id_;
  const Kind kind_;
  const int proto_;
  const Done done_;
  std::string pattern_ = "*";
  std::string type_;
  uint64_t cursor_ = 0;
  uint64_t begin_ = 0;     // RANDOMKEY: where it began
  bool wrapped_ = false;   // RANDOMKEY: it went on at the beginning of the keyspace
  uint64_t count_ = 1000;  // keys that are still to be looked at
  Instant deadline_ = kNever;
  std::string keys_;  // as bulk strings
  uint64_t found_ = 0;
};

}  // namespace cairn::server
