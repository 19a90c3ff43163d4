// Files of this folder that are part of the binary; cmake/EmbedText.cmake writes the definitions.
#pragma once

#include <string_view>

namespace cairn::server {

extern const std::string_view kSchemasJson;
extern const std::string_view kConsoleHtml;
extern const std::string_view kConsoleCss;
extern const std::string_view kConsoleJs;
extern const std::string_view kConsoleIcon;

}  // namespace cairn::server
