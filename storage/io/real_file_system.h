// The POSIX file system. Thread safety: any thread.
#pragma once

#include <memory>

#include "storage/io/file_system.h"

namespace cairn::storage {

// kLog files are opened with O_DIRECT | O_DSYNC; where the file system has no O_DIRECT (tmpfs), with O_DSYNC
// alone.
std::unique_ptr<FileSystem> make_real_file_system();

}  // namespace cairn::storage
