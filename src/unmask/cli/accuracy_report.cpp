#include "unmask/cli/accuracy_report.h"

#include <fmt/core.h>

namespace unmask::cli {

std::string accuracy_text(const Accuracy& accuracy) {
  return fmt::format("{:.1f} % of {} right (95 % interval {:.1f} to {:.1f})", 100 * accuracy.share,
                     accuracy.count, 100 * accuracy.low, 100 * accuracy.high);
}

nlohmann::json accuracy_json(const Accuracy& accuracy) {
  return {{"accuracy", accuracy.share},
          {"interval", {accuracy.low, accuracy.high}},
          {"count", accuracy.count}};
}

}  // namespace unmask::cli
