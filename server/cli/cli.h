#pragma once

namespace cairn::server {
// The whole command line of cairnd. Returns the exit code.
int run_cli(int argc, char** argv);
}  // namespace cairn::server
