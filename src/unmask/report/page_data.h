#pragma once

#include <span>
#include <string>

#include "unmask/report/metrics_reader.h"

namespace unmask {

// What the page shows, as JSON that may stand inside a <script> element: curves shortened to some
// hundred points, four mask-ratio bins out of a hundred, a handful of heat maps.
std::string page_data(std::span<const RunLog> runs);

}  // namespace unmask
