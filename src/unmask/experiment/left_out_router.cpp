#include "unmask/experiment/left_out_router.h"

#include "unmask/base/check.h"

namespace unmask {

void LeftOutRouter::weigh_forward(ConstMatrix logits, const Decision& decision,
                                  Assignment& assignment) {
  router_->weigh_forward(logits, decision, assignment);
  left_out_.tokens += assignment.tokens;
  for (float& gate : assignment.gate) {
    if (!range_.contains(gate)) continue;
    ++left_out_.slots;
    left_out_.weight_sum += gate;
    gate = 0;
  }
}

void LeftOutRouter::weigh_backward(ConstMatrix /*logits*/, const Decision& /*decision*/,
                                   const Assignment& /*assignment*/,
                                   std::span<const float> /*d_gate*/, Matrix /*d_logits*/) {
  UNMASK_CHECK(false && "a router that leaves out is not trained");
}

}  // namespace unmask
