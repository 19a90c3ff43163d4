// One session over a MemorySink, driven by bytes.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "server/session/session.h"
#include "test/support/memory_sink.h"

namespace cairn::test {

// A command as a client library sends it.
inline std::string request(const std::vector<std::string>& argv) {
  std::string out = "*" + std::to_string(argv.size()) + "\r\n";
  for (const std::string& argument : argv) out += "$" + std::to_string(argument.size()) + "\r\n" + argument + "\r\n";
  return out;
}
inline std::string bulk(std::string_view bytes) {
  return "$" + std::to_string(bytes.size()) + "\r\n" + std::string(bytes) + "\r\n";
}

struct SessionHarness {
  MemorySink sink;
  server::SessionOptions options;
  server::CommandStats stats;
  std::unique_ptr<server::Session> session;

  explicit SessionHarness(server::SessionLimits limits = {}, std::string password = {}) {
    sink.password = std::move(password);
    options.limits = limits;
    options.peer_address = "127.0.0.1:50000";
    options.local_address = "127.0.0.1:6379";
    options.stats = &stats;
    session = std::make_unique<server::Session>(42, sink, options);
    sink.shared.add(*session);
  }
  // What the client receives for these bytes. FLUSHALL and DBSIZE are answered too, unless sink.late.
  std::string bytes(std::string_view input) {
    session->on_input(input);
    if (!sink.late) hand_over_all();
    return take();
  }
  std::string operator()(const std::vector<std::string>& argv) { return bytes(request(argv)); }
  std::string take() {
    std::string out = session->output().take();
    session->on_output_sent();
    return out;
  }
  void hand_over(size_t i) {
    const MemorySink::Late late = std::move(sink.queue[i]);
    sink.queue.erase(sink.queue.begin() + static_cast<std::ptrdiff_t>(i));
    session->deliver(late.where.sequence, late.bytes);
  }
  void hand_over_all() {
    while (!sink.queue.empty()) hand_over(0);
  }
};

}  // namespace cairn::test
