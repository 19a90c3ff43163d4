#include "server/net/endpoints.h"

#include <boost/asio/io_context.hpp>

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

Result<tcp::endpoint> resolve(asio::io_context& context, const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Error{ErrorCode::kInvalidArgument, address + " is not HOST:PORT"};
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  ErrorCodeT error;
  const auto ip = asio::ip::make_address(host, error);
  const auto port = static_cast<uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10));
  if (!error) return tcp::endpoint(ip, port);
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(host, std::to_string(port), error);
  if (error || found.empty()) return Error{ErrorCode::kInvalidArgument, address + ": " + error.message()};
  return found.begin()->endpoint();
}

Result<void> listen_on(tcp::acceptor& acceptor, const std::string& address) {
  auto endpoint = resolve(static_cast<asio::io_context&>(acceptor.get_executor().context()), address);
  if (!endpoint) return endpoint.error();
  ErrorCodeT error;
  acceptor.open(endpoint->protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(*endpoint, error);
  if (!error) acceptor.listen(1024, error);
  if (!error) return {};
  const bool in_use = error == asio::error::address_in_use;
  return Error{in_use ? ErrorCode::kInUse : ErrorCode::kInvalidArgument,
               "listening on " + address + ": " + error.message()};
}

}  // namespace cairn::server
