#pragma once

#include "unmask/diffusion/proposals.h"

namespace unmask {

// Every proposal whose confidence exceeds the threshold; where those are fewer than the quota, the
// quota most confident ones (LLaDA2: 0.95). Commits them.
class ThresholdRule {
 public:
  explicit ThresholdRule(float threshold) : threshold_(threshold) {}
  void commit(int32_t quota, Choice& choice);

 private:
  float threshold_;
  Ranking ranking_;
};

}  // namespace unmask
