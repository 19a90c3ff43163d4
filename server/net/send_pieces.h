// From an OutputBuffer to a socket.
#pragma once

#include <sys/socket.h>

#include <array>

#include "server/session/output_buffer.h"

namespace cairn::server {

// One sendmsg() of what comes first, without waiting; what the kernel takes leaves `output`. As sendmsg() answers: the
// bytes, or -1 and errno.
inline ssize_t send_pieces(int fd, OutputBuffer& output) {
  std::array<iovec, 64> pieces;
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = output.pieces(pieces);
  const ssize_t sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent > 0) output.consume(static_cast<size_t>(sent));
  return sent;
}

}  // namespace cairn::server
