#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/cli/logits_file.h"
#include "unmask/routing/router.h"
#include "unmask/routing/statistics.h"

namespace unmask::cli {

// Of `unmask route` (docs/routing/route.md).
struct RouteArguments {
  std::string policy;
  std::vector<std::string> settings;
  std::string in;
  std::string out;
  std::string backward;
  int32_t shared_experts = 0;
  std::string sweep;
  std::vector<std::string> shown = {"unique_experts_per_block", "experts_per_token.mean"};
  std::string plot;
  std::string title;
};

// A policy applied to logits.
struct Routed {
  RoutingPolicy policy;
  std::unique_ptr<Router> router;
  Assignment assignment;
  Decision decision;
  std::vector<int32_t> expert;  // [slots]
  RoutingStatistics statistics;
};

// `settings`: key=value over the policy's file.
Result<Routed> route(const RouteArguments& arguments, const std::vector<std::string>& settings,
                     const LogitsFile& input);

// One key of the policy through several values: prints statistics of each, and draws some of them.
Status sweep_route(const RouteArguments& arguments, const LogitsFile& input);

}  // namespace unmask::cli
