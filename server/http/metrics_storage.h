// The storage engine's part of the metrics page.
#pragma once

#include "server/cluster/node.h"
#include "server/http/metrics_text.h"

namespace cairn::server {

// On the range loop.
void add_storage_metrics(MetricsText& page, Node& node);

}  // namespace cairn::server
