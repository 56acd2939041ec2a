// Included inside the namespace of an instruction set, after its lanes: packing and tiles for one
// format of packed words. A format says how many values of k a word holds and how many words are
// multiplied together, makes words from f32 rows, and multiplies them.

namespace {

struct F32Words {
  static constexpr int kDepth = 1, kWordStep = 1;
  static Vec along(Vec v, Vec /*next*/) { return v; }
  static Vec across(Vec v, Vec /*next*/) { return v; }
  static Vec multiply_add(Vec a, Vec b, Vec sum) { return sum + a * b; }
};

// bf16 without a bf16 dot instruction: f32 words that hold rounded values.
struct RoundedWords {
  static constexpr int kDepth = 1, kWordStep = 1;
  static Vec along(Vec v, Vec /*next*/) { return round_bf16(v); }
  static Vec across(Vec v, Vec /*next*/) { return round_bf16(v); }
  static Vec multiply_add(Vec a, Vec b, Vec sum) { return sum + a * b; }
};

template <class Format>
struct Gemm {
  static constexpr int kDepth = Format::kDepth;
  static constexpr int kCols = 2 * kLanes;
  static constexpr int64_t kRowsAhead = 8;  // prefetched by pack_columns

  static void prefetch_columns(const float* c) {
    for (int i = 0; i < kCols; i += 16) {
      _mm_prefetch(reinterpret_cast<const char*>(c + i), _MM_HINT_T0);
    }
  }

  // kLanes words along k, of which the first `values` source values exist.
  static Vec words_along(const float* p, int64_t values) {
    if constexpr (kDepth == 1) {
      return Format::along(values >= kLanes ? load(p) : load_partial(p, values), zero());
    } else {
      if (values <= 0) return zero();
      if (values >= 2 * kLanes) return Format::along(load(p), load(p + kLanes));
      const Vec first = values >= kLanes ? load(p) : load_partial(p, values);
      return Format::along(first,
                           values > kLanes ? load_partial(p + kLanes, values - kLanes) : zero());
    }
  }

  static void pack_rows(const float* source, int64_t stride, const int32_t* index, int64_t count,
                        int64_t width, int64_t k, float* packed) {
    const int64_t words = kernel().words(k);
    for (int64_t first = 0; first < width; first += kLanes) {
      const int64_t live = count - first < kLanes ? count - first : kLanes;
      const float* rows[kLanes];
      for (int64_t i = 0; i < live; ++i) {
        rows[i] = source + (index ? index[first + i] : first + i) * stride;
      }
      for (int64_t w = 0; w < words; w += kLanes) {
        Vec block[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          block[i] = i < live ? words_along(rows[i] + w * kDepth, k - w * kDepth) : zero();
        }
        transpose(block);
        const int64_t n = words - w < kLanes ? words - w : kLanes;
        // A narrow tile's row is overlapped by the next one's; the last spills past the end,
        // where kPackSlack leaves room.
        for (int64_t i = 0; i < n; ++i) store(packed + (w + i) * width + first, block[i]);
      }
    }
  }

  // Values [column, column + kLanes) of a row that ends at `count`.
  static Vec values(const float* row, int64_t column, int64_t count) {
    const int64_t live = count - column;
    return live >= kLanes ? load(row + column)
           : live > 0     ? load_partial(row + column, live)
                          : zero();
  }

  static void pack_columns(const float* source, int64_t stride, const int32_t* index,
                           const float* scale, int64_t count, int64_t width, int64_t k,
                           float* packed) {
    const int64_t panel_stride = kernel().panel_stride(k, width);
    for (int64_t p = 0; p < k; p += kDepth, packed += width) {
      const bool pair = kDepth == 2 && p + 1 < k;
      const float* row = source + (index ? index[p] : p) * stride;
      const float* next = pair ? source + (index ? index[p + 1] : p + 1) * stride : row;
      // Narrow pieces of far rows are nothing the hardware would foresee.
      const int64_t ahead = p + kRowsAhead < k ? p + kRowsAhead : k - 1;
      const float* far = source + (index ? index[ahead] : ahead) * stride;
      const Vec row_scale = broadcast(scale ? scale[p] : 1.0f);
      const Vec next_scale = broadcast(scale && pair ? scale[p + 1] : 1.0f);
      float* panel = packed;
      for (int64_t first = 0; first < count; first += width, panel += panel_stride) {
        for (int64_t j = 0; j < width; j += kLanes) {
          const int64_t column = first + j;
          _mm_prefetch(reinterpret_cast<const char*>(far + column), _MM_HINT_T0);
          Vec a = values(row, column, count);
          Vec b = pair ? values(next, column, count) : zero();
          if (scale) {
            a = a * row_scale;
            b = b * next_scale;
          }
          store(panel + j, Format::across(a, b));
        }
      }
    }
    const int64_t missing = kernel().words(k) - (k + kDepth - 1) / kDepth;
    for (int64_t first = 0; first < count; first += width, packed += panel_stride) {
      for (int64_t i = 0; i < missing * width; i += kLanes) store(packed + i, zero());
    }
  }

  template <int kRows>
  static void tile_of(int64_t words, const float* a, const float* b, float* c, int64_t c_stride,
                      bool accumulate) {
    Vec sum[kRows][2];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = sum[r][1] = zero();
      // What is added to comes while the products are made.
      if (accumulate) prefetch_columns(c + r * c_stride);
    }
    for (int64_t w = 0; w < words; ++w, a += kRows, b += kCols) {
      const Vec b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec x = broadcast(a + r);
        sum[r][0] = Format::multiply_add(x, b0, sum[r][0]);
        sum[r][1] = Format::multiply_add(x, b1, sum[r][1]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r, c += c_stride) {
      if (accumulate) {
        sum[r][0] = sum[r][0] + load(c);
        sum[r][1] = sum[r][1] + load(c + kLanes);
      }
      store(c, sum[r][0]);
      store(c + kLanes, sum[r][1]);
    }
  }

  template <int kRows = kTileRows>
  static void tile(int64_t rows, int64_t words, const float* a, const float* b, float* c,
                   int64_t c_stride, bool accumulate) {
    if (rows == kRows) {
      tile_of<kRows>(words, a, b, c, c_stride, accumulate);
    } else if constexpr (kRows > 1) {
      tile<kRows - 1>(rows, words, a, b, c, c_stride, accumulate);
    }
  }

  static constexpr GemmKernel kernel() {
    constexpr Packing packing = {&pack_rows, &pack_columns};
    return {kTileRows, kCols, kDepth, Format::kWordStep, packing, packing, &tile<kTileRows>};
  }
};

}  // namespace
