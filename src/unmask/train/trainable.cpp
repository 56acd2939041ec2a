#include "unmask/train/trainable.h"

#include <algorithm>

namespace unmask {

std::vector<uint8_t> updated_parameters(const ParameterLayout& layout, Trainable trainable) {
  std::vector<uint8_t> updated(layout.table.size(), trainable == Trainable::all);
  const auto update = [&](int index) {
    if (index >= 0) updated[index] = 1;
  };
  for (const ParameterLayout::Layer& layer : layout.layers) {
    update(layer.router);
    if (trainable != Trainable::router_and_experts) continue;
    update(layer.expert_gate);
    update(layer.expert_up);
    update(layer.expert_down);
  }
  for (size_t i = 0; i < updated.size(); ++i) updated[i] &= layout.table[i].trained;
  return updated;
}

}  // namespace unmask
