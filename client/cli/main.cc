#include <malloc.h>

#include <iostream>

#include "client/cli/app.h"

#ifdef H2BD_WITH_MEDIA
#include "client/media/media_commands.h"
#endif

int main(int argc, char** argv) {
  // With glibc's defaults each buffer of a transfer goes back to the kernel and comes anew, page by
  // page: that costs more than a third of the throughput.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  mallopt(M_TOP_PAD, 16 << 20);
#ifdef H2BD_WITH_MEDIA
  const h2bd::cli::AddOfflineCommands offline = h2bd::AddMediaCommands;
#else
  const h2bd::cli::AddOfflineCommands offline = nullptr;
#endif
  return h2bd::cli::RunCommand(argc, argv, std::cout, std::cerr, offline);
}
