#include "unmask/model/gradients.h"

#include "unmask/kernels/elementwise.h"

namespace unmask {

void Gradients::clear() {
  passes_ = 0;
  for (size_t i = 0; i < layout().table.size(); ++i) {
    if (!layout().table[i].of_experts) fill(0.0f, (*this)[static_cast<int>(i)]);
  }
}

}  // namespace unmask
