#pragma once

#include <span>
#include <string>

#include "unmask/report/metrics_reader.h"

namespace unmask {

// One HTML file that compares the runs and needs nothing else: no network, no other file. At least
// one run.
std::string render_page(std::span<const RunLog> runs);

}  // namespace unmask
