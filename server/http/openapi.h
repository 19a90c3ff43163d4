// The OpenAPI 3.1 document of the admin API, made from the table that dispatches.
#pragma once

#include "server/http/route.h"

namespace cairn::server {

nlohmann::json openapi(const RouteTable& routes);

}  // namespace cairn::server
