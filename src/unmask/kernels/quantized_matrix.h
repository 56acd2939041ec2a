#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "unmask/base/arena.h"
#include "unmask/base/bf16.h"
#include "unmask/base/view.h"

namespace unmask {

// How the weights of a forward-only product are stored.
//   bf16  rounded to nearest even
//   int8  levels -127..127, one scale for `group` consecutive weights of a row
//   int4  levels -7..7, likewise
// A scale is (largest |weight| of the group) / (largest level), rounded to bf16, so that a weight
// is off by at most half a scale: max |w| / 254 or max |w| / 14, and 2^-8 of that for the rounding
// of the scale. A group whose scale would be below 2^-126 is zeros.
enum class WeightFormat { bf16, int8, int4 };

inline constexpr WeightFormat kWeightFormats[] = {WeightFormat::bf16, WeightFormat::int8,
                                                  WeightFormat::int4};

std::string_view name_of(WeightFormat format);

// Weights that share a scale unless something else is asked for; 0 for bf16, which has no scales.
int32_t default_group(WeightFormat format);

// The form of a packed matrix of `rows` outputs and `cols` inputs, made for the dot instructions of
// AVX-512: tiles of 32 outputs, each one contiguous stream of steps. A step is one 32-bit word for
// each of the 32 outputs; a word holds consecutive inputs of its output, the first lowest:
//   bf16  2 values: inputs 2s, 2s + 1 in step s
//   int8  4 bytes, level + 128: inputs 4s … 4s + 3
//   int4  4 bytes: the lower halves hold (level + 8) of inputs 8s … 8s + 3, the upper ones those of
//         8s + 4 … 8s + 7
// Scales: [tiles][groups][32]. Outputs past the last one, and inputs past the last one up to a
// whole group (bf16: a whole pair), are levels of zero.
struct QuantizedShape {
  static constexpr int64_t kTile = 32;        // outputs
  static constexpr int64_t kStepBytes = 128;  // of a tile

  WeightFormat format = WeightFormat::bf16;
  int64_t rows = 0;
  int64_t cols = 0;
  int32_t group = 0;  // a multiple of 32; 0 for bf16

  bool integers() const { return format != WeightFormat::bf16; }
  int64_t tiles() const { return (rows + kTile - 1) / kTile; }
  int64_t groups() const { return integers() ? (cols + group - 1) / group : 1; }
  int64_t padded_cols() const { return integers() ? groups() * group : (cols + 1) / 2 * 2; }
  int64_t cols_per_step() const {
    return format == WeightFormat::bf16 ? 2 : format == WeightFormat::int8 ? 4 : 8;
  }
  int64_t steps() const { return padded_cols() / cols_per_step(); }
  int64_t tile_bytes() const { return steps() * kStepBytes; }
  int64_t tile_scales() const { return integers() ? groups() * kTile : 0; }
  int64_t data_bytes() const { return tiles() * tile_bytes(); }
  int64_t scale_count() const { return tiles() * tile_scales(); }
  int64_t bytes() const { return data_bytes() + scale_count() * int64_t{sizeof(bf16)}; }

  // 32-bit words of one activation row: pairs of bf16, or four levels of -127..127.
  int64_t row_words() const { return padded_cols() / (integers() ? 4 : 2); }
  // What a stored level has been raised by.
  int32_t bias() const { return format == WeightFormat::int8 ? 128 : 8; }
};

// A borrowed packed matrix: the owner is a Buffer or a mapped file. `data` lies on 64 bytes.
struct QuantizedMatrix {
  QuantizedShape shape;
  const std::byte* data = nullptr;
  const bf16* scales = nullptr;  // null for bf16

  const std::byte* tile(int64_t i) const { return data + i * shape.tile_bytes(); }
  const bf16* tile_scales(int64_t i) const { return scales + i * shape.tile_scales(); }
};

// The matrix whose tiles and then scales begin at `bytes`, on 64 bytes: shape.bytes() of them.
inline QuantizedMatrix matrix_at(const QuantizedShape& shape, const std::byte* bytes) {
  return {shape, bytes, reinterpret_cast<const bf16*>(bytes + shape.data_bytes())};
}

// Packs w [rows, cols]; `data` and `scales` have the sizes of the shape. Weights must be finite.
// Tiles do not know of each other: rows may be packed in pieces of whole tiles.
void quantize(const QuantizedShape& shape, ConstMatrix w, std::byte* data, bf16* scales);

}  // namespace unmask
