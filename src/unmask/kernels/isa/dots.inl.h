// Included inside the namespace of an instruction set, after gemm.inl.h and rows.inl.h: dot
// products of rows with rows (dots_kernel.h). Lanes run along k, so that both are read as they lie.

namespace {

struct Dots {
  static constexpr int kRows = 3, kOutputs = kLanes == 16 ? 8 : 4;
  // Along k: what a few rows of w have there stays in the first-level cache for all rows of x.
  static constexpr int64_t kDepth = 512;
  static constexpr int64_t kTileFloats = kRows * kOutputs * kLanes;

  using Sums = Vec[kRows][kOutputs];

  // Those that are not there are read as the last one that is.
  template <int kCount>
  struct RowsOf {
    const float* row[kCount];

    RowsOf(const float* first, int64_t stride, int64_t live) {
      for (int64_t i = 0; i < kCount; ++i) row[i] = first + (i < live ? i : live - 1) * stride;
    }
  };

  template <class Body>
  UNMASK_INLINE static void for_all(Body body) {
    unrolled<kRows>([&](auto r) UNMASK_INLINE {
      unrolled<kOutputs>([&](auto j) UNMASK_INLINE { body(r, j); });
    });
  }

  // tile [kRows][kOutputs][lanes] (+)= products for k in [begin, end); as many values from `far` on
  // are fetched ahead.
  static void add(const RowsOf<kRows>& x, const RowsOf<kOutputs>& w, int64_t begin, int64_t end,
                  const float* far, float* tile) {
    Sums sums;
    for_all([&](auto r, auto j) UNMASK_INLINE {
      sums[r][j] = begin == 0 ? zero() : load(tile + (r * kOutputs + j) * kLanes);
    });
    const auto add_step = [&](auto get) UNMASK_INLINE {
      Vec a[kRows];
      unrolled<kRows>([&](auto r) UNMASK_INLINE { a[r] = get(x.row[r]); });
      unrolled<kOutputs>([&](auto j) UNMASK_INLINE {
        const Vec b = get(w.row[j]);
        unrolled<kRows>([&](auto r) UNMASK_INLINE { F32Words::add_product(sums[r][j], a[r], b); });
      });
    };
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes, far += kLanes) {
      _mm_prefetch(reinterpret_cast<const char*>(far), _MM_HINT_T0);
      add_step([i](const float* p) UNMASK_INLINE { return load(p + i); });
    }
    if (i < end) add_step([i, end](const float* p) { return load_partial(p + i, end - i); });
    for_all([&](auto r, auto j)
                UNMASK_INLINE { store(tile + (r * kOutputs + j) * kLanes, sums[r][j]); });
  }

  static void dots(const DotsTask& t) {
    const RowsOf<kOutputs> w(t.w, t.w_stride, t.outputs);
    for (int64_t begin = 0; begin < t.k || begin == 0; begin += kDepth) {
      const int64_t end = begin + kDepth < t.k ? begin + kDepth : t.k;
      const float* const next = end < t.k ? t.w + end : t.w_next;
      for (int64_t r = 0, tile = 0; r < t.rows; r += kRows, ++tile) {
        const int64_t ahead = tile < t.outputs ? tile : 0;  // a row of w
        add({t.x + r * t.x_stride, t.x_stride, t.rows - r}, w, begin, end,
            next + ahead * t.w_stride, t.sums + tile * kTileFloats);
      }
    }
    for (int64_t r = 0; r < t.rows; ++r) {
      const float* const row = t.sums + r * kOutputs * kLanes;
      float* const y = t.y + r * t.y_stride;
      for (int64_t j = 0; j < t.outputs; ++j) y[j] = sum_of_lanes(load(row + j * kLanes));
    }
  }

  static constexpr DotsKernel kernel() { return {kOutputs, kRows, kLanes, &dots}; }
};

}  // namespace
