#include "unmask/kernels/activation_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <immintrin.h>
#include <limits>

#include "unmask/base/check.h"
#include "unmask/base/prefetch.h"

namespace unmask {
namespace {

// The bits of the largest |x|; those of an infinity or a NaN if there is one.
uint32_t largest_bits(const float* x, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  }
  return largest;
}

// 32 levels, and their sum: x * inverse to the nearest integer, ties to even.
int32_t quantize_32(const float* x, __m256 inverse, uint32_t* words) {
  const auto levels = [&](int i) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  };
  const __m256i low = _mm256_packs_epi32(levels(0), levels(1));
  const __m256i high = _mm256_packs_epi32(levels(2), levels(3));
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), bytes);

  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
  const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  const __m128i two =
      _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  const __m128i one = _mm_add_epi32(two, _mm_unpackhi_epi64(two, two));
  return _mm_cvtsi128_si32(one) + _mm_extract_epi32(one, 1);
}

void convert_to_levels(const QuantizedShape& s, const float* x, const ActivationRow& row) {
  const uint32_t bits = largest_bits(x, s.padded_cols());
  const float largest = std::bit_cast<float>(bits);
  // Below the smallest normal scale the inverse would overflow: such a row is zeros.
  const bool finite = bits < 0x7f800000u, zero = finite && largest < 127 * 0x1p-126f;
  *row.scale = zero ? 0.0f : finite ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
  const __m256 inverse = _mm256_set1_ps(zero || !finite ? 0.0f : 127.0f / largest);
  for (int64_t g = 0; g < s.groups(); ++g) {
    int32_t sum = 0;
    for (int64_t k = g * s.group; k < (g + 1) * s.group; k += 32) {
      sum += quantize_32(x + k, inverse, row.words + k / 4);
    }
    row.start[g] = -s.bias() * sum;
  }
}

void convert_to_pairs(const QuantizedShape& s, const float* x, const ActivationRow& row) {
  for (int64_t w = 0; w < s.row_words(); ++w) {
    const bf16 low(x[2 * w]), high(x[2 * w + 1]);
    row.words[w] = low.bits | uint32_t{high.bits} << 16;
  }
}

}  // namespace

ActivationRows::ActivationRows(Arena& arena, const QuantizedShape& shape, int64_t rows)
    : shape_(shape),
      words_(arena.take<uint32_t>(rows * shape.row_words())),
      start_(arena.take<int32_t>(rows * shape.groups())),
      scale_(arena.take<float>(rows)) {}

InterleavedBlocks::InterleavedBlocks(Arena& arena, const QuantizedKernel& kernel,
                                     const QuantizedShape& shape, int64_t rows)
    : kernel_(kernel),
      shape_(shape),
      words_(arena.take<uint32_t>(rows * shape.row_words() * kernel.words)),
      start_(arena.take<int32_t>(rows * shape.groups())),
      scale_(arena.take<float>(rows)) {}

void convert_row(const QuantizedShape& s, const float* x, const ActivationRow& row) {
  ArenaScope scope(thread_scratch());
  if (s.padded_cols() != s.cols) {
    float* padded = thread_scratch().take<float>(s.padded_cols());
    std::copy_n(x, s.cols, padded);
    std::fill_n(padded + s.cols, s.padded_cols() - s.cols, 0.0f);
    x = padded;
  }
  s.integers() ? convert_to_levels(s, x, row) : convert_to_pairs(s, x, row);
}

void multiply_tile(const TileOf& tile, const InterleavedBlocks& x, int64_t first, int64_t count,
                   const TileOf& next, float* out) {
  const QuantizedMatrix& w = tile.matrix;
  const QuantizedShape& s = w.shape;
  if (s.integers()) {
    const auto* const scales = reinterpret_cast<const char*>(next.matrix.tile_scales(next.index));
    for (int64_t i = 0; i < s.tile_scales() * int64_t{sizeof(bf16)}; i += kLineBytes) {
      _mm_prefetch(scales + i, _MM_HINT_T1);
    }
  }
  find_pages(next.matrix.tile(next.index), s.tile_bytes());
  const RowBlocks blocks(count, x.kernel());
  ArenaScope scope(thread_scratch());
  auto* const rows = thread_scratch().take<InterleavedRows>(blocks.count);
  for (int64_t b = 0; b < blocks.count; ++b) {
    rows[b] = x.block(first + blocks.first(b), blocks.height(b));
  }
  x.kernel().tile({.weights = w.tile(tile.index),
                   .scales = s.integers() ? w.tile_scales(tile.index) : nullptr,
                   .groups = s.groups(),
                   .steps = s.steps() / s.groups(),
                   .next = next.matrix.tile(next.index)},
                  rows, blocks.count, out);
}

}  // namespace unmask
