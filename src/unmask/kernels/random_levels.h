#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// A matrix of any levels at `bytes` (shape.bytes() of them), to measure with. Weights are about
// 2^-6 at most: values of bf16 with all bits random would be infinities.
inline void fill_with_random_levels(const QuantizedShape& shape, uint64_t seed, std::byte* bytes) {
  uint64_t state = seed * 2 + 1;
  for (int64_t i = 0; i < shape.data_bytes(); i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = state ^ state >> 29;
    if (!shape.integers()) bits = (bits & 0x807f807f807f807fu) | 0x3c003c003c003c00u;
    std::memcpy(bytes + i, &bits, 8);
  }
  const float scale = shape.format == WeightFormat::int8 ? 0x1p-13f : 0x1p-9f;
  std::fill_n(reinterpret_cast<bf16*>(bytes + shape.data_bytes()), shape.scale_count(),
              bf16(scale));
}

}  // namespace unmask
