// Addresses of the configuration as sockets take them.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <string>

#include "base/result.h"

namespace cairn::server {

// "host:port" -> endpoint; kInvalidArgument. The host may be a name that resolves.
Result<boost::asio::ip::tcp::endpoint> resolve(boost::asio::io_context& context, const std::string& address);
// Binds and listens; kInUse if somebody else does.
Result<void> listen_on(boost::asio::ip::tcp::acceptor& acceptor, const std::string& address);

}  // namespace cairn::server
