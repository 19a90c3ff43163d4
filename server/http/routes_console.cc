// The console page: files of the binary, so that it works without a network beyond this node.
#include <fmt/format.h>

#include "base/checksum.h"
#include "server/http/admin_api.h"
#include "server/http/embedded.h"

namespace cairn::server {
namespace {

// Only what this node serves itself, and no code or style inside the page.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

void add_file(RouteTable& table, std::string_view path, std::string_view id, std::string_view type,
              std::string_view content) {
  const std::string tag = fmt::format("\"{:08x}\"", crc32c(content));
  table.push_back(
      {.method = "GET",
       .path = path,
       .id = id,
       .summary = "A file of the console page",
       .access = Access::kOpen,
       .runs_on = RunsOn::kAdminThread,
       .parameters = {},
       .body = {},
       .answers = {{200, type, "", "The file"}, {304, "", "", "The copy named by If-None-Match is the same"}},
       .run = [type, content, tag](const CallPointer& call, const AdminDone& done) {
         const std::string* known = call->request.header("if-none-match");
         const bool same = known != nullptr && *known == tag;
         AdminReply reply{200, std::string(type), std::string(content)};
         if (same) reply = {304, "", ""};
         reply.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}, {"Content-Security-Policy", kPolicy}};
         done(std::move(reply));
       }});
}

}  // namespace

void add_console_routes(RouteTable& table) {
  add_file(table, "/", "getConsole", "text/html; charset=utf-8", kConsoleHtml);
  add_file(table, "/console.css", "getConsoleStyle", "text/css; charset=utf-8", kConsoleCss);
  add_file(table, "/console.js", "getConsoleScript", "text/javascript; charset=utf-8", kConsoleJs);
  add_file(table, "/favicon.svg", "getConsoleIcon", "image/svg+xml", kConsoleIcon);
}

}  // namespace cairn::server
