// What takes a simulated client more than one command: transactions, values that expire, iterations of SCAN.
#include <fmt/format.h>

#include "server/resp/reply_parser.h"
#include "test/sim/client.h"

namespace cairn::sim {
namespace {
// Each expiry may have happened at any time, which the checker has to try.
constexpr uint32_t kExpiriesMax = 4;

std::string first_of(const std::string& pair) { return "{" + pair + "}a"; }
std::string second_of(const std::string& pair) { return "{" + pair + "}b"; }
}  // namespace

void SimClient::add_read(Request& request, const std::string& key) {
  Pending read{.ops = {record(OpKind::kRead, key)}};
  if (key.front() == 'h') {
    request.add({"HGET", key.substr(0, key.find('/')), key.substr(key.find('/') + 1)}, std::move(read));
  } else if (key.front() == 't' || key.front() == 'w') {
    read.answer = Answer::kReadBoth;
    add_exec(request, {{"GET", first_of(key)}, {"GET", second_of(key)}}, std::move(read));
  } else {
    request.add({"GET", key}, std::move(read));
  }
}

void SimClient::add_exec(Request& request, const std::vector<std::vector<std::string>>& commands, Pending exec) {
  request.add({"MULTI"}, {.answer = Answer::kIgnored});
  for (const auto& command : commands) request.add(command, {.answer = Answer::kIgnored});
  request.add({"EXEC"}, std::move(exec));
}

void SimClient::add_pair_command(Request& request, const std::string& key) {
  if (world_.random.below(100) >= 50) return add_read(request, key);
  const std::string v = value();
  Pending exec{.ops = {record(OpKind::kWrite, key, v)}, .answer = Answer::kWriteBoth};
  add_exec(request, {{"SET", first_of(key), v}, {"SET", second_of(key), v}}, std::move(exec));
}

// ---- read, modify, write under WATCH ----

void SimClient::begin_count(Request& request, const std::string& key) {
  request.add({"WATCH", first_of(key), second_of(key)}, {.answer = Answer::kWatched});
  request.add({"GET", first_of(key)}, {.answer = Answer::kCount, .key = key});
}

void SimClient::end_count(const std::string& key, std::string_view reply) {
  Request request;
  server::ReplyHead head;
  if (!watching_ || server::read_reply_head(reply, head) != server::ReplyState::kComplete || head.type != '$') {
    request.add({"UNWATCH"}, {.answer = Answer::kIgnored});
    return send(std::move(request.bytes), std::move(request.pending));
  }
  const std::string next = head.number < 0 ? "1" : std::to_string(std::stoll(std::string(head.text)) + 1);
  Pending exec{.ops = {record(OpKind::kIncrement, key)}, .answer = Answer::kWriteBoth};
  history_[exec.ops[0]].result = next;  // if it is answered at all
  add_exec(request, {{"SET", first_of(key), next}, {"SET", second_of(key), next}}, std::move(exec));
  send(std::move(request.bytes), std::move(request.pending));
}

// ---- values that expire ----

void SimClient::add_expiring_command(Request& request, const std::string& key) {
  uint32_t& expiries = expiries_[key];
  if (expiries >= kExpiriesMax || world_.random.below(100) >= 10) return add_register_command(request, key);
  ++expiries;
  const std::string v = value();
  const std::string ms = std::to_string(world_.random.between(1, 3000));
  request.add({"SET", key, v, "PX", ms}, {.ops = {record(OpKind::kWrite, key, v)}});
  record(OpKind::kDelete, key);  // by whoever meets it, whatever the clocks say; its outcome stays unknown
}

// ---- SCAN ----

// False: there is nothing to look for yet, or a page is on its way.
bool SimClient::add_scan(Request& request) {
  for (const Pending& p : request.pending) {
    if (p.answer == Answer::kScan) return false;
  }
  if (next_stable_ < options_.stable) {
    const std::string key = fmt::format("s{}.{}", id_, next_stable_++);
    request.add({"SET", key, "here"}, {.answer = Answer::kStable, .key = key});
    return true;
  }
  if (cursor_ == 0) wanted_ = stable_;
  const std::string count = std::to_string(world_.random.between(1, 10));
  request.add({"SCAN", std::to_string(cursor_), "COUNT", count}, {.answer = Answer::kScan});
  return true;
}

// An error leaves the cursor where it is, and so does a connection that breaks: the iteration goes on anywhere.
void SimClient::take_page(std::string_view reply) {
  if (reply.front() == '-') return;
  server::ReplyHead head;
  const auto next = [&] {
    (void)server::read_reply_head(reply, head);
    reply.remove_prefix(head.bytes);
  };
  next();
  next();
  const uint64_t cursor = std::stoull(std::string(head.text));
  if (cursor >= uint64_t{1} << 53 || (cursor != 0 && cursor <= cursor_)) {
    problems_.push_back(fmt::format("SCAN {} answered the cursor {}", cursor_, cursor));
  }
  next();
  for (uint64_t keys = head.children; keys > 0; --keys) {
    next();
    wanted_.erase(std::string(head.text));
  }
  cursor_ = cursor;
  if (cursor_ != 0) return;
  ++iterations_;
  if (!wanted_.empty()) problems_.push_back("an iteration of SCAN missed " + *wanted_.begin());
}

}  // namespace cairn::sim
