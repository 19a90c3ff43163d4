#include "server/cli/cli.h"

int main(int argc, char** argv) { return cairn::server::run_cli(argc, argv); }
