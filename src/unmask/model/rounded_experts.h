#pragma once

#include <cstdint>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/base/bf16.h"
#include "unmask/base/view.h"
#include "unmask/model/parameters.h"

namespace unmask {

// The weights of all routed experts once more, as bf16: what both passes of a training in bf16 read
// then, half as much (ExpertWeights::rounded). Whoever changes the parameters changes these.
class RoundedExperts {
 public:
  RoundedExperts() = default;  // none
  explicit RoundedExperts(const Parameters& parameters);

  // Of one parameter of the layout, each beginning with a cache line; empty where it is none of
  // theirs.
  View<bf16> operator[](int parameter) const;
  // All of them, from what the parameters are now.
  void round(const Parameters& parameters);

 private:
  std::vector<View<bf16>> views_;  // by parameter
  Buffer buffer_;
};

// Bytes of it: two for each weight of a routed expert.
int64_t rounded_experts_bytes(const ParameterLayout& layout);

}  // namespace unmask
