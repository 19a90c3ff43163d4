// Planted bugs for the bug zoo (cairn-sim-zoo). CAIRN_PLANTED("name") is constant false in the daemon's build.
#pragma once

#include <string_view>

namespace cairn {
#if defined(CAIRN_ZOO)
// The one planted bug that is switched on in this process; empty for none. Set once at start.
inline std::string_view planted_bug;
#define CAIRN_PLANTED(name) (::cairn::planted_bug == std::string_view(name))
#else
#define CAIRN_PLANTED(name) (false)
#endif
}  // namespace cairn
