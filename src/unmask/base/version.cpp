#include "unmask/base/version.h"

namespace unmask {

std::string_view version() { return UNMASK_VERSION; }

}  // namespace unmask
