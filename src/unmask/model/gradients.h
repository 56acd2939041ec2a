#pragma once

#include "unmask/model/parameters.h"

namespace unmask {

// The gradients of a step: a sum over its backward passes. Those of routed experts, most of a
// model, are not zeroed and added to: the first pass writes them, which saves two of the four times
// that they would go through memory.
class Gradients : public Parameters {
 public:
  explicit Gradients(const ParameterLayout& layout) : Parameters(layout) {}

  // A new sum: all but the routed experts' is zero; theirs is anything until the first pass.
  void clear();
  // For one pass, whether routed experts add to an earlier one.
  bool add_pass() { return passes_++ > 0; }

 private:
  int64_t passes_ = 0;
};

}  // namespace unmask
