#pragma once

#include <cstddef>
#include <cstdint>

#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// One tile of 32 outputs as it lies in memory (quantized_matrix.h). Plain numbers: what is compiled
// for an instruction set calls no inline function.
struct QuantizedTile {
  const std::byte* weights = nullptr;  // [groups][steps][32 words]
  const bf16* scales = nullptr;        // [groups][32]
  int64_t groups = 0;
  int64_t steps = 0;                // of a group
  const std::byte* next = nullptr;  // the weights that follow, to be fetched ahead: as many bytes
};

// Rows of activations as a tile reads them: up to max_rows of them, interleaved.
struct InterleavedRows {
  int64_t count = 0;
  const uint32_t* words = nullptr;  // as the kernel interleaves them
  // Of integers only. A dot product with raised levels is too large by bias * (sum of the row's
  // levels in the group): sums begin with its negative.
  const int32_t* start = nullptr;  // [groups][count]
  const float* scale = nullptr;    // [count]
};

// Products with one packed tile. Integer sums are exact, so that they are the same on every
// instruction set; groups are added in f32 in ascending order.
struct QuantizedKernel {
  int32_t max_rows;  // of a block
  int32_t words;     // that stand for one word of a row

  // [words][words of the kernel][count] from `count` <= max_rows rows of `words` words; for
  // matrix registers (AMX) [words / 16][count][16].
  void (*interleave)(const uint32_t* const* rows, int64_t count, int64_t words,
                     uint32_t* interleaved);

  // out [rows of all blocks][32] = x · Wᵀ, block after block.
  void (*tile)(const QuantizedTile& tile, const InterleavedRows* blocks, int64_t count, float* out);
};

// Of the instruction set in use (isa.h).
const QuantizedKernel& quantized_kernel(const QuantizedShape& shape);

}  // namespace unmask
