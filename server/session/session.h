// One client connection without its socket: parses requests, answers what concerns the connection or this
// node, hands the rest to the CommandSink, and lets the replies leave in the order of the commands.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/commands/command.h"
#include "server/resp/parser.h"
#include "server/resp/writer.h"
#include "server/session/command_latency.h"
#include "server/session/command_sink.h"
#include "server/session/command_stats.h"
#include "server/session/hub.h"
#include "server/session/input_buffer.h"
#include "server/session/large_commands.h"
#include "server/session/output_buffer.h"
#include "server/session/reply_queue.h"
#include "server/session/transaction.h"

namespace cairn::server {

struct SessionLimits {
  ParserLimits parser;
  // When either is reached no further command is read until replies have left: the bound of a pipeline.
  size_t outstanding_commands_max = 10'000;
  size_t pending_bytes_max = 64 * 1024 * 1024;  // requests without a reply, held replies and output
  // Likewise when so much is expected of replies that come from other nodes or from disk: nobody can call them back
  // when the client reads none of them. A new connection has 8 such commands under way, and more as small replies come.
  size_t expected_bytes_max = 4 * 1024 * 1024;
  // With so much unsent output no further command is executed either, but requests are read: they take less memory than
  // their replies. A client that goes on sending until `input_rest` has come waits, it seems, for being read before it
  // reads, and is served on.
  size_t output_rest = 1024 * 1024;
  size_t input_rest = 256 * 1024;
};

struct SessionOptions {
  SessionLimits limits;
  std::string peer_address;       // "host:port" of the client
  std::string local_address;      // "host:port" it connected to
  int fd = -1;                    // only shown
  CommandStats* stats = nullptr;  // may be null; outlives the session
};

// Thread safety: none; everything happens on the connection's loop, deliver() too. Lifetime: `sink` outlives
// the session. Once the connection is gone call on_close() and forget the id: replies that still come for it
// are dropped by the node.
class Session : private ReplyObserver {
 public:
  Session(uint64_t id, CommandSink& sink, SessionOptions options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  uint64_t id() const { return id_; }

  // Bytes from the client, in any pieces.
  void on_input(std::string_view bytes);
  // The same without a copy: read into input_space(), then say how much was read. No other call in between.
  std::span<char> input_space(size_t bytes) { return input_.space(bytes); }
  void input_filled(size_t bytes);

  // Bytes for the client. The owner sends from the front and consumes what was sent, or takes everything. Once it is
  // empty he calls on_output_sent(), which goes on with commands that had to wait.
  OutputBuffer& output() { return output_; }
  const OutputBuffer& output() const { return output_; }
  void on_output_sent();

  // The late reply of a command given to the sink. May go on with commands that had to wait, and so call the
  // sink before it returns. A sequence that is unknown or was answered before is ignored.
  void deliver(uint64_t sequence, std::string_view bytes);

  // True: read nothing more from the client for now.
  bool paused() const { return loaded() || fenced(); }
  // True: commands that were read wait until output() has left.
  bool resting() const {
    return output_.size() >= options_.limits.output_rest && !input_.empty() &&
           input_.size() < options_.limits.input_rest;
  }
  // True: nothing is to be answered or sent, whatever else may come.
  bool idle() const { return replies_.empty() && output_.empty() && !postponed_; }
  // Gives back what an idle connection keeps for the next command.
  void trim();
  // The memory that reserve_room() refused is there: read on.
  void room_granted(size_t bytes);
  // True: close the connection as soon as output() is sent. Nothing more will be read or answered.
  bool wants_close() const { return (closing_ && replies_.empty()) || killed_; }
  // True: close it now, whatever of output() the client has not taken.
  bool killed() const { return killed_; }
  void kill();
  void on_close();

  // A command waits for the end of a CLIENT PAUSE.
  bool postponed() const { return postponed_; }
  void resume();

  size_t pending_bytes() const { return output_.size() + replies_.held_bytes(); }
  size_t outstanding_commands() const { return replies_.size(); }
  size_t input_bytes() const { return input_.size(); }
  // Buffers of this connection.
  size_t memory_bytes() const {
    return sizeof(Session) + input_.capacity() + output_.capacity() + replies_.held_bytes();
  }
  uint64_t commands() const { return commands_; }
  int proto() const { return proto_; }
  bool authenticated() const { return authenticated_ || sink_.requirepass().empty(); }
  bool read_only() const { return read_only_; }  // READONLY was sent: reads may be served by followers
  const std::string& name() const { return name_; }
  const std::string& peer_address() const { return options_.peer_address; }
  const std::string& local_address() const { return options_.local_address; }
  Instant last_input() const { return last_input_; }
  Instant created() const { return created_; }
  // One line of CLIENT LIST, without the line end.
  std::string client_line() const;

 private:
  bool loaded() const {
    return replies_.size() >= options_.limits.outstanding_commands_max ||
           replies_.expected_bytes() >= options_.limits.expected_bytes_max ||
           pending_bytes() >= options_.limits.pending_bytes_max || postponed_ || wants_room();
  }
  // A command that runs everywhere waits for all earlier replies, and all later commands wait for its own: what one
  // connection sends happens in its order. Only SCANs, which change nothing, run side by side.
  bool scanning() const { return fence_ && scans_ && held_ == nullptr; }
  bool joins_scans(const CommandSpec* spec) const;
  bool fenced() const { return (fence_ || held_ != nullptr) && !replies_.empty(); }
  // A reply that is not for the client as it comes.
  struct Awaited {
    enum class Kind : uint8_t { kNone, kWatch, kExec };
    Kind kind = Kind::kNone;
    uint64_t sequence = 0;
    uint16_t slot = 0;
    std::vector<std::string> keys;        // kWatch
    std::vector<QueuedCommand> commands;  // kExec
  };
  // Memory for a large command: one of a session at a time, until it has its reply.
  enum class Room : uint8_t { kNone, kWanted, kFilling, kAnswering };
  bool wants_room() const {
    return room_ == Room::kWanted || (room_ == Room::kAnswering && parser_.announced() > kLargeCommandBytes);
  }
  void leave_room();
  void seek_room();
  static size_t bytes_of(Argv argv);  // about what they take in memory
  void process();
  void execute(const CommandSpec* spec, Argv argv);  // null: unknown
  void execute_in_range(const CommandSpec& spec, Argv argv);
  void execute_scattered(const CommandSpec& spec, Argv argv);
  void execute_everywhere(const CommandSpec& spec, Argv argv);
  bool scan_at_once(const CommandSpec& spec, Argv argv, uint64_t sequence);
  void execute_held();
  // Of all keys of a command; none: they are in several. Requires: it has keys.
  std::optional<uint16_t> slot_of_keys(const CommandSpec& spec, Argv argv) const;

  // session_transaction.cc
  void execute_transaction(SessionCommand command, Argv argv);
  void execute_watch(Argv argv);
  void execute_exec();
  void queue_command(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv);
  bool too_much(Argv argv);
  bool join_transaction(const CommandSpec& spec, Argv argv, uint16_t& slot);
  void hand_over_halves(const CommandSpec& spec, Argv argv, uint16_t slot);
  void answer_exec(const std::vector<QueuedCommand>& commands);
  void answer_queued(const QueuedCommand& command, std::string& target);
  void hand_over_awaited(const CommandSpec& spec, Argv argv, uint16_t slot);
  std::string take_awaited(std::string_view bytes);
  void take_marks(const Awaited& awaited, std::string_view marks, RespWriter& reply);
  void merge_exec(const std::vector<QueuedCommand>& commands, std::string_view replies, std::string& out);
  void answer_status(std::string_view text);

  void time_reply(const CommandSpec& spec, uint64_t sequence);  // how long its reply takes
  // Hands one command to the sink under `sequence`, which was just opened. `part`: of a scattered command, which is
  // accounted for as a whole.
  void hand_over(const CommandSpec& spec, Argv argv, uint16_t slot, uint64_t sequence, bool part = false);
  // Subcommands that run on the leader of a range: MEMORY USAGE, CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT.
  bool runs_in_range(const SubcommandSpec& subcommand) const;
  void execute_subcommand(const SubcommandSpec& subcommand, Argv argv);
  bool pauses(const CommandSpec& spec) const;               // a CLIENT PAUSE holds it back
  bool redirected(const CommandSpec& spec, uint16_t slot);  // answered with MOVED
  bool looks_like_http(std::string_view name) const;

  void answer_error(std::string_view text);
  void answer_unknown(Argv argv);
  void answer_wrong_arity(std::string_view name);  // as sent by COMMAND: "get", "client|id"
  // The answers to commands of CommandPlace::kConnection.
  void answer(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv, RespWriter& reply);
  void answer_hello(Argv argv, RespWriter& reply);
  void answer_auth(Argv argv, RespWriter& reply);
  void answer_client(std::string_view subcommand, Argv argv, RespWriter& reply);
  void answer_client_list(Argv argv, RespWriter& reply);
  void answer_client_kill(Argv argv, RespWriter& reply);
  void answer_client_pause(Argv argv, RespWriter& reply);
  void answer_client_reply(Argv argv, RespWriter& reply);
  // CLIENT REPLY says whether its own answer is sent, too.
  void switch_replies(std::string_view subcommand, Argv argv);
  void answer_client_setinfo(Argv argv, RespWriter& reply);
  void answer_client_tracking(Argv argv, RespWriter& reply);
  void answer_client_unblock(Argv argv, RespWriter& reply);
  void answer_select(Argv argv, RespWriter& reply);
  void answer_swapdb(Argv argv, RespWriter& reply);
  void answer_reset(RespWriter& reply);
  void answer_time(RespWriter& reply);
  void answer_config(std::string_view subcommand, Argv argv, RespWriter& reply);
  void answer_config_get(Argv argv, RespWriter& reply);
  void answer_config_set(Argv argv, RespWriter& reply);
  // True if user and password are right; else an error was written.
  bool log_in(std::string_view user, std::string_view password, RespWriter& reply);
  bool set_name(std::string_view name, RespWriter& reply);
  void set_authenticated(bool authenticated);
  void note_cluster_client() { cluster_client_ = true; }

  // The command that was begun at started_ has its reply, or will have it later as `sequence`.
  void answered(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv, std::string_view reply);
  void answered_later(const CommandSpec& spec, Argv argv, uint64_t sequence);
  void late_reply(const CommandTrace& trace, std::string_view reply) override;
  void account(const CommandTrace& trace, std::string_view reply, Instant now);
  void pack_for_log(const CommandSpec& spec, Argv argv, std::string& out);

  const uint64_t id_;
  CommandSink& sink_;
  SessionOptions options_;
  RequestParser parser_;
  InputBuffer input_;
  OutputBuffer output_;
  ReplyQueue replies_;
  LatencyTracker latency_;

  int proto_ = 2;
  bool authenticated_ = false;
  bool cluster_client_ = false;  // showed itself to be one: may be told MOVED
  bool read_only_ = false;
  bool processing_ = false;
  bool closing_ = false;
  bool killed_ = false;
  bool postponed_ = false;
  bool no_evict_ = false;
  bool no_touch_ = false;
  bool replies_off_ = false;  // CLIENT REPLY OFF
  bool skip_next_ = false;    // CLIENT REPLY SKIP was the last command
  Room room_ = Room::kNone;
  bool fence_ = false;                 // an everywhere-command was started: nothing more before its reply
  bool scans_ = false;                 // it is a SCAN, or several
  const CommandSpec* held_ = nullptr;  // an everywhere-command that waits for earlier replies
  std::vector<std::string> held_argv_;
  Transaction transaction_;
  Awaited awaited_;
  std::string name_;
  std::string library_name_;
  std::string library_version_;
  const CommandSpec* last_command_ = nullptr;
  const SubcommandSpec* last_subcommand_ = nullptr;
  uint64_t commands_ = 0;
  Instant created_ = 0;
  Instant last_input_ = 0;
  Instant started_ = 0;  // of the command being executed; its end is the start of the next one of the pipeline
  CommandTrace trace_;   // scratch

  // Scratch of execute_scattered.
  std::vector<uint64_t> order_;
  std::vector<uint16_t> slots_;
  std::vector<uint32_t> part_of_key_;
  std::vector<std::string_view> part_argv_;
  std::string moved_to_;
};

}  // namespace cairn::server
