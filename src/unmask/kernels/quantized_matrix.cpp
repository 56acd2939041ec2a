#include "unmask/kernels/quantized_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "unmask/base/parallel.h"

namespace unmask {
namespace {

constexpr float kSmallestScale = 0x1p-126f;

// The scale of `count` weights, as stored.
bf16 scale_of(const float* w, int64_t count, float largest_level) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(w[i]));
  const bf16 scale(largest / largest_level);
  return static_cast<float>(scale) < kSmallestScale ? bf16() : scale;
}

// One output's row into its words of a tile, which holds zeros of the format.
void pack_row(const QuantizedShape& s, const float* w, std::byte* words) {
  for (int64_t k = 0; k < s.cols; ++k) {
    const bf16 value(w[k]);
    std::memcpy(words + k / 2 * s.kStepBytes + k % 2 * 2, &value, 2);
  }
}

void pack_row(const QuantizedShape& s, const float* w, std::byte* words, bf16* scales) {
  const float levels = s.format == WeightFormat::int8 ? 127.0f : 7.0f;
  for (int64_t g = 0; g < s.groups(); ++g) {
    const int64_t begin = g * s.group, end = std::min(s.cols, begin + s.group);
    const bf16 scale = scale_of(w + begin, end - begin, levels);
    scales[g * s.kTile] = scale;
    const float inverse = scale.bits == 0 ? 0.0f : 1.0f / static_cast<float>(scale);
    for (int64_t k = begin; k < end; ++k) {
      const float level = std::clamp(std::nearbyint(w[k] * inverse), -levels, levels);
      const auto raised = static_cast<uint8_t>(static_cast<int32_t>(level) + s.bias());
      if (s.format == WeightFormat::int8) {
        words[k / 4 * s.kStepBytes + k % 4] = std::byte{raised};
      } else {
        std::byte& pair = words[k / 8 * s.kStepBytes + k % 4];
        pair = k % 8 < 4 ? (pair & std::byte{0xf0}) | std::byte{raised}
                         : (pair & std::byte{0x0f}) | std::byte(raised << 4);
      }
    }
  }
}

// The byte that fills places where there is no weight.
int zero_byte(WeightFormat format) {
  switch (format) {
    case WeightFormat::bf16:
      return 0;
    case WeightFormat::int8:
      return 0x80;
    case WeightFormat::int4:
      return 0x88;
  }
  return 0;
}

}  // namespace

std::string_view name_of(WeightFormat format) {
  constexpr std::array<std::string_view, 3> names = {"bf16", "int8", "int4"};
  return names[static_cast<size_t>(format)];
}

int32_t default_group(WeightFormat format) {
  switch (format) {
    case WeightFormat::bf16:
      return 0;
    case WeightFormat::int8:
      return 128;
    case WeightFormat::int4:
      return 64;
  }
  return 0;
}

void quantize(const QuantizedShape& s, ConstMatrix w, std::byte* data, bf16* scales) {
  UNMASK_CHECK(w.rows == s.rows && w.cols == s.cols);
  UNMASK_CHECK(s.integers() ? s.group > 0 && s.group % 32 == 0 : s.group == 0);
  parallel_for(s.tiles(), [&](int64_t tile) {
    std::byte* const to = data + tile * s.tile_bytes();
    std::memset(to, zero_byte(s.format), static_cast<size_t>(s.tile_bytes()));
    bf16* const tile_scales = scales + tile * s.tile_scales();
    std::fill_n(tile_scales, s.tile_scales(), bf16());
    for (int64_t i = 0; i < std::min(s.kTile, s.rows - tile * s.kTile); ++i) {
      const float* const row = w.row(tile * s.kTile + i);
      if (s.integers()) {
        pack_row(s, row, to + 4 * i, tile_scales + i);
      } else {
        pack_row(s, row, to + 4 * i);
      }
    }
  });
}

}  // namespace unmask
