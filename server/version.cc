#include "server/version.h"

namespace h2bd {

const char kVersion[] = H2BD_VERSION;

}  // namespace h2bd
