// cairn-client-load --port=N [--clients=50] [--idle=0] [--pipeline=1] [--seconds=5] [--rate=0] [--keys=100000]
//                   COMMAND [ARGUMENT...] [";" COMMAND...]
//   Loads one Redis or Cairn server. Several commands make one operation (MULTI ; SET a b ; EXEC). "__rand_int__" in an
//   argument becomes a number below --keys with 12 digits, as in redis-benchmark; the argument "__cursor__" is the
//   cursor that the last SCAN of its place in the pipeline has answered.
//   --idle opens so many connections more: each runs the operation once and is then left alone.
//   --rate=N: N operations a second over all clients, in turn; the time of one counts from when it was due, so a server
//   that stands still is not spared. Without it every client sends its next pipeline when the last one is answered.
// Prints "idle" when the idle connections are there, then one line of JSON. The first tenth of the time is not counted.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "server/resp/reply_parser.h"

namespace {

using cairn::server::reply_length;
using cairn::server::ReplyState;

constexpr std::string_view kRandom = "__rand_int__", kSame = "__same_int__", kCursor = "__cursor__";

struct Options {
  uint16_t port = 0;
  size_t clients = 50, idle = 0, pipeline = 1;
  double seconds = 5, rate = 0;
  uint64_t keys = 100'000;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "cairn-client-load: %s\n", what.c_str());
  std::exit(1);
}

uint64_t now_ns() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(ts.tv_nsec);
}

std::string bulk(std::string_view bytes) {
  return "$" + std::to_string(bytes.size()) + "\r\n" + std::string(bytes) + "\r\n";
}

// What one operation sends: its bytes, cut where a cursor comes in.
class Operation {
 public:
  Operation(const std::vector<std::string>& words, uint64_t keys) : keys_(keys) {
    parts_.emplace_back();
    for (auto at = words.begin(); at != words.end(); ++replies_) {
      const auto end = std::find(at, words.end(), ";");
      parts_.back() += "*" + std::to_string(end - at) + "\r\n";
      for (; at != end; ++at) {
        if (*at == kCursor) {
          parts_.emplace_back();
        } else {
          parts_.back() += bulk(*at);
        }
      }
      if (at != words.end()) ++at;
    }
  }
  size_t replies() const { return replies_; }
  bool walks() const { return parts_.size() > 1; }
  void append(std::string& out, std::string_view cursor, std::minstd_rand& random) const {
    const uint64_t same = random() % keys_;
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (i > 0) out += bulk(cursor);
      const size_t begin = out.size();
      out += parts_[i];
      fill(out, begin, kSame, [&] { return same; });
      fill(out, begin, kRandom, [&] { return random() % keys_; });
    }
  }

 private:
  template <class Number>
  static void fill(std::string& out, size_t at, std::string_view what, Number number) {
    while ((at = out.find(what, at)) != std::string::npos) {
      char digits[24];
      std::snprintf(digits, sizeof digits, "%012llu", static_cast<unsigned long long>(number()));
      out.replace(at, what.size(), digits, what.size());
    }
  }

  uint64_t keys_;
  size_t replies_ = 0;
  std::vector<std::string> parts_;
};

struct Pending {
  uint64_t since = 0;
  size_t replies = 0;
};

struct Client {
  int fd = -1;
  bool idle = false;
  std::string out, in;
  std::deque<Pending> pending;
  std::vector<std::string> cursors;  // by place in the pipeline
  size_t place = 0;                  // whose reply comes next
};

class Load {
 public:
  Load(const Options& options, const Operation& operation) : o_(options), operation_(operation) {
    epoll_ = epoll_create1(0);
    clients_.resize(o_.idle + o_.clients);
    for (size_t i = 0; i < clients_.size(); ++i) {
      clients_[i].idle = i < o_.idle;
      connect(i);
      if (i + 1 == o_.idle) {
        wait_for_answers();
        std::puts("idle");
        std::fflush(stdout);
      }
    }
  }

  void run() {
    const uint64_t begin = now_ns();
    counted_from_ = begin + static_cast<uint64_t>(o_.seconds * 1e8);
    const uint64_t end = begin + static_cast<uint64_t>(o_.seconds * 1e9);
    if (o_.rate == 0) {
      for (size_t i = o_.idle; i < clients_.size(); ++i) start_pipeline(clients_[i], begin);
    }
    uint64_t sent = 0;
    for (uint64_t now = begin; now < end; now = now_ns()) {
      int64_t wait = 10'000'000;
      if (o_.rate > 0) {
        const auto due = [&] { return begin + static_cast<uint64_t>(static_cast<double>(sent) * 1e9 / o_.rate); };
        for (; due() <= now; ++sent) {
          Client& client = clients_[o_.idle + sent % o_.clients];
          start(client, due());
          flush(client);
        }
        wait = static_cast<int64_t>(due() - now);
      }
      poll(wait);
    }
    report(static_cast<double>(end - counted_from_) / 1e9);
  }

 private:
  void connect(size_t index) {
    Client& client = clients_[index];
    client.cursors.assign(o_.pipeline, "0");
    client.fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(o_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (client.fd < 0 || ::connect(client.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      fail("connection " + std::to_string(index) + ": " + std::strerror(errno));
    }
    const int on = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = index;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event);
    if (!client.idle) return;
    start(client, now_ns());
    flush(client);
  }
  void wait_for_answers() {
    for (uint64_t end = now_ns() + 20'000'000'000; open_ > 0;) {
      if (now_ns() > end) fail("idle connections are not answered");
      poll(10'000'000);
    }
    if (errors_ > 0) fail("errors while the idle connections were made: " + first_error_);
  }

  void start(Client& client, uint64_t since) {
    const size_t place = (client.place + client.pending.size()) % o_.pipeline;
    operation_.append(client.out, client.cursors[place], random_);
    client.pending.push_back({since, operation_.replies()});
    ++open_;
  }
  void start_pipeline(Client& client, uint64_t now) {
    for (size_t i = 0; i < o_.pipeline; ++i) start(client, now);
    flush(client);
  }
  void flush(Client& client) {
    if (client.out.empty()) return;
    const ssize_t sent = send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (sent < 0) return count_error(std::string("send: ") + std::strerror(errno));
    client.out.erase(0, static_cast<size_t>(sent));
  }

  void poll(int64_t wait_ns) {
    std::array<epoll_event, 256> events;
    const timespec wait{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &wait, nullptr);
    for (int i = 0; i < count; ++i) receive(clients_[events[static_cast<size_t>(i)].data.u64]);
  }
  void receive(Client& client) {
    const ssize_t got = recv(client.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got <= 0) {
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      count_error(got == 0 ? "closed by the server" : std::strerror(errno));
      epoll_ctl(epoll_, EPOLL_CTL_DEL, client.fd, nullptr);
      return;
    }
    const std::string_view fresh(buffer_.data(), static_cast<size_t>(got));
    if (client.in.empty()) {
      client.in = fresh.substr(take(client, fresh));
    } else {
      client.in += fresh;
      client.in.erase(0, take(client, client.in));
    }
    if (!client.idle && o_.rate == 0 && client.pending.empty()) start_pipeline(client, now_ns());
  }
  // Bytes of whole replies at the front of `in`, which are counted.
  size_t take(Client& client, std::string_view in) {
    const uint64_t now = now_ns();
    size_t used = 0;
    for (size_t length = 0; reply_length(in.substr(used), length) == ReplyState::kComplete; used += length) {
      const std::string_view reply = in.substr(used, length);
      if (reply[0] == '-') count_error(std::string(reply));
      if (client.pending.empty()) fail("a reply that nobody asked for");
      if (operation_.walks()) keep_cursor(client, reply);
      Pending& first = client.pending.front();
      if (--first.replies > 0) continue;
      --open_;
      if (counted_from_ != 0 && now >= counted_from_ && !client.idle) times_.push_back(now - first.since);
      client.pending.pop_front();
      client.place = (client.place + 1) % o_.pipeline;
    }
    return used;
  }
  void keep_cursor(Client& client, std::string_view reply) {  // "*2\r\n$N\r\nCURSOR\r\n..."
    if (!reply.starts_with("*2\r\n$")) return;
    const size_t begin = reply.find('\n', 5) + 1;
    client.cursors[client.place] = reply.substr(begin, reply.find('\r', begin) - begin);
  }
  void count_error(const std::string& what) {
    if (errors_++ == 0) first_error_ = what.substr(0, 200);
  }

  void report(double seconds) {
    std::sort(times_.begin(), times_.end());
    const auto quantile = [&](double q) {
      if (times_.empty()) return 0.0;
      return static_cast<double>(times_[static_cast<size_t>(static_cast<double>(times_.size() - 1) * q)]) / 1e6;
    };
    for (char& c : first_error_) {
      if (c == '"' || c == '\\' || c < ' ') c = ' ';
    }
    std::printf(
        "{\"rps\": %.1f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"errors\": %zu, \"error\": \"%s\"}\n",
        static_cast<double>(times_.size()) / seconds, quantile(0.5), quantile(0.99), quantile(1), errors_,
        first_error_.c_str());
  }

  const Options& o_;
  const Operation& operation_;
  int epoll_ = -1;
  std::vector<Client> clients_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
  std::minstd_rand random_{static_cast<uint32_t>(now_ns() | 1)};
  std::vector<uint64_t> times_;  // nanoseconds
  uint64_t counted_from_ = 0;
  size_t open_ = 0, errors_ = 0;
  std::string first_error_;
};

bool parse(int argc, char** argv, Options& options, std::vector<std::string>& words) {
  int i = 1;
  for (; i < argc && std::strncmp(argv[i], "--", 2) == 0; ++i) {
    const std::string_view text = argv[i];
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view name = text.substr(0, equals);
    const double value = std::atof(argv[i] + equals + 1);
    const auto count = static_cast<size_t>(value);
    if (name == "--port")
      options.port = static_cast<uint16_t>(value);
    else if (name == "--clients")
      options.clients = count;
    else if (name == "--idle")
      options.idle = count;
    else if (name == "--pipeline")
      options.pipeline = count;
    else if (name == "--keys")
      options.keys = count;
    else if (name == "--seconds")
      options.seconds = value;
    else if (name == "--rate")
      options.rate = value;
    else
      return false;
  }
  words.assign(argv + i, argv + argc);
  return options.port != 0 && options.clients > 0 && options.pipeline > 0 && options.keys > 0 && !words.empty();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::vector<std::string> words;
  if (!parse(argc, argv, options, words)) fail("bad arguments; its first lines tell which there are");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const Operation operation(words, options.keys);
  Load(options, operation).run();
  return 0;
}
