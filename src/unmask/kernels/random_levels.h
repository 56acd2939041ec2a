#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// A matrix of random levels at `bytes` (shape.bytes() of them), to measure with. Weights are about
// 2^-6 at most (values of bf16 with all bits random would be infinities), and their mean is zero:
// levels are odd, because a common part of all weights would make all tokens alike.
inline void fill_with_random_levels(const QuantizedShape& shape, uint64_t seed, std::byte* bytes) {
  uint64_t state = seed * 2 + 1;
  for (int64_t i = 0; i < shape.data_bytes(); i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = state ^ state >> 29;
    switch (shape.format) {
      case WeightFormat::bf16:
        bits = (bits & 0x807f807f807f807fu) | 0x3c003c003c003c00u;
        break;
      case WeightFormat::int8:
        bits |= 0x0101010101010101u;
        break;
      case WeightFormat::int4:
        bits |= 0x1111111111111111u;
        break;
    }
    std::memcpy(bytes + i, &bits, 8);
  }
  const float scale = shape.format == WeightFormat::int8 ? 0x1p-13f : 0x1p-9f;
  std::fill_n(reinterpret_cast<bf16*>(bytes + shape.data_bytes()), shape.scale_count(),
              bf16(scale));
}

}  // namespace unmask
