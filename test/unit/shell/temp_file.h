// A file of the real file system, full of random bytes, for as long as it is in scope.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/random.h"

namespace cairn::server {

struct TempFile {
  explicit TempFile(size_t bytes) : path("/tmp/cairn-reads-XXXXXX"), content(bytes, '\0') {
    ::close(::mkstemp(path.data()));
    SeededRandom random(1);
    for (char& c : content) c = static_cast<char>(random.next());
    std::ofstream(path, std::ios::binary) << content;
  }
  ~TempFile() { ::unlink(path.c_str()); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  std::string path, content;
};

}  // namespace cairn::server
