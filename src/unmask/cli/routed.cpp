#include "unmask/cli/routed.h"

#include <limits>
#include <utility>

#include "unmask/cli/policy_file.h"
#include "unmask/routing/capacity.h"

namespace unmask::cli {

Result<Routed> route(const RouteArguments& arguments, const std::vector<std::string>& settings,
                     const LogitsFile& input) {
  Routed routed;
  UNMASK_TRY(routed.policy, read_policy_file(arguments.policy, settings));
  auto router = make_router(routed.policy, input.experts, arguments.shared_experts);
  if (!router) return in_policy_file(router.error(), arguments.policy);
  if (varies(routed.policy) && input.masked.empty()) {
    return usage_error(
        "{}: expected a tensor \"masked\" (U8 [{}, {}], 1 = the token is masked): the policy's "
        "capacity follows the mask ratio",
        arguments.in, input.sequences, input.length);
  }
  routed.router = std::move(*router);
  if (routed.router->max_slots(input.tokens(), input.length) >
      std::numeric_limits<int32_t>::max()) {
    return usage_error(
        "{}: expected fewer than 2^31 pairs of a token and an expert; take fewer "
        "sequences at once",
        arguments.in);
  }
  routed.router->select(input.matrix(), input.context(), routed.assignment, routed.decision);
  routed.router->weigh_forward(input.matrix(), routed.decision, routed.assignment);
  measure_routing(routed.policy, input.matrix(), routed.decision, routed.assignment,
                  input.context(), routed.statistics);
  for (int32_t e = 0; e < input.experts; ++e) {
    routed.expert.insert(routed.expert.end(), routed.assignment.load(e), e);
  }
  return routed;
}

}  // namespace unmask::cli
