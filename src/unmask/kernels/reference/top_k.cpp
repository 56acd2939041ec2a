#include "unmask/kernels/reference/top_k.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace unmask::reference {

void top_k_keys(std::span<const int32_t> keys, std::span<int32_t> chosen) {
  std::vector<int32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return keys[a] > keys[b]; });
  std::copy_n(order.begin(), chosen.size(), chosen.begin());
  std::sort(chosen.begin(), chosen.end());
}

}  // namespace unmask::reference
