// Included inside the namespace of an instruction set, after its lanes and unrolled.inl.h: packing
// and tiles for one format of packed words. A format says how many values of k a word holds and how
// many words are multiplied together, makes words from f32 rows, and adds their product to a sum.
// It does so in an instruction of its own: from intrinsics GCC 12 renames sums from step to step
// and spills them.

namespace {

// Words multiplied between one look at the count and the next: a core whose other half works for
// somebody else starts three instructions a cycle, and products alone are two.
constexpr int kWordsUnrolled = 4;
constexpr int kWordsAtOnce = 128;  // gemm_kernel.h

struct F32Words {
  static constexpr int kDepth = 1, kWordStep = 1;
  static Vec along(Vec v, Vec /*next*/) { return v; }
  static Vec across(Vec v, Vec /*next*/) { return v; }
  static void add_product(Vec& sum, Vec a, Vec b) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};

// bf16 without a bf16 dot instruction: f32 words that hold rounded values.
struct RoundedWords : F32Words {
  static Vec along(Vec v, Vec /*next*/) { return round_bf16(v); }
  static Vec across(Vec v, Vec /*next*/) { return round_bf16(v); }
};

// T is what packing reads: float, or bf16, whose values are what rounding would make of them.
template <class Format>
struct Gemm {
  static constexpr int kDepth = Format::kDepth;
  static constexpr int kCols = 2 * kLanes;
  static constexpr int64_t kRowsAhead = 8;  // prefetched by pack_columns

  static void prefetch_columns(const float* c) {
    for (int i = 0; i < kCols; i += kLineFloats) {
      _mm_prefetch(reinterpret_cast<const char*>(c + i), _MM_HINT_T0);
    }
  }

  static bool whole_lines(const float* c, int64_t c_stride) {
    return reinterpret_cast<uintptr_t>(c) % (kLineFloats * sizeof(float)) == 0 &&
           c_stride % kLineFloats == 0;
  }

  static Vec along(const float*, Vec v) { return Format::along(v, zero()); }
  static Vec along(const bf16*, Vec v) { return v; }
  static Vec pairs_along(const float* p) { return Format::along(load(p), load(p + kLanes)); }
  static Vec pairs_along(const bf16* p) { return load(reinterpret_cast<const float*>(p)); }

  // kLanes words along k, of which the first `values` source values exist.
  template <class T>
  static Vec words_along(const T* p, int64_t values) {
    if constexpr (kDepth == 1) {
      return along(p, values >= kLanes ? load(p) : load_partial(p, values));
    } else {
      if (values <= 0) return zero();
      if (values >= 2 * kLanes) return pairs_along(p);
      const Vec first = values >= kLanes ? load(p) : load_partial(p, values);
      return Format::along(first,
                           values > kLanes ? load_partial(p + kLanes, values - kLanes) : zero());
    }
  }

  template <class T>
  static void pack_rows(const T* source, int64_t stride, const int32_t* index, int64_t count,
                        int64_t width, int64_t k, float* packed) {
    const int64_t words = kernel().words(k);
    for (int64_t first = 0; first < width; first += kLanes) {
      const int64_t wanted = width - first < kLanes ? width - first : kLanes;
      const int64_t live = count - first < wanted ? count - first : wanted;
      const T* rows[kLanes] = {source};
      for (int64_t i = 0; i < kLanes; ++i) {
        rows[i] = i < live ? source + (index ? index[first + i] : first + i) * stride : rows[0];
      }
      // A narrow tile's row is overlapped by the next one's; the last spills past the end, where
      // kPackSlack leaves room.
      const int64_t whole = live == wanted ? k / (kLanes * kDepth) * kLanes : 0;
      for (int64_t w = 0; w < whole; w += kLanes) {
        Vec block[kLanes];
        unrolled<kLanes>([&](auto i) UNMASK_INLINE {
          block[i] = words_along(rows[i] + w * kDepth, kLanes * kDepth);
        });
        transpose(block);
        unrolled<kLanes>([&](auto i)
                             UNMASK_INLINE { store(packed + (w + i) * width + first, block[i]); });
      }
      for (int64_t w = whole; w < words; w += kLanes) {
        Vec block[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          block[i] = i < live ? words_along(rows[i] + w * kDepth, k - w * kDepth) : zero();
        }
        transpose(block);
        const int64_t n = words - w < kLanes ? words - w : kLanes;
        for (int64_t i = 0; i < n; ++i) store(packed + (w + i) * width + first, block[i]);
      }
    }
  }

  // Values [column, column + kLanes) of a row that ends at `count`.
  template <class T>
  static Vec values(const T* row, int64_t column, int64_t count) {
    const int64_t live = count - column;
    return live >= kLanes ? load(row + column)
           : live > 0     ? load_partial(row + column, live)
                          : zero();
  }

  template <class T>
  static void pack_columns(const T* source, int64_t stride, const int32_t* index, int64_t count,
                           int64_t width, int64_t k, float* packed) {
    const int64_t panel_stride = kernel().panel_stride(k, width);
    const int64_t reach = (width + kLanes - 1) / kLanes * kLanes;
    for (int64_t p = 0; p < k; p += kDepth, packed += width) {
      const auto row_of = [&](int64_t i) { return source + (index ? index[i] : i) * stride; };
      const bool pair = kDepth == 2 && p + 1 < k;
      const T* const row = row_of(p);
      const T* const next = pair ? row_of(p + 1) : row;
      // Narrow pieces of far rows are nothing the hardware would foresee.
      const T* const far = row_of(p + kRowsAhead < k ? p + kRowsAhead : k - 1);
      for (int64_t i = 0; i < count; i += kLineBytes / int64_t{sizeof(T)}) {
        _mm_prefetch(reinterpret_cast<const char*>(far + i), _MM_HINT_T0);
      }
      const auto words = [&](Vec a, Vec b) UNMASK_INLINE {
        if constexpr (kDepth == 1) return along(row, a);
        return Format::across(a, b);
      };
      float* panel = packed;
      for (int64_t first = 0; first < count; first += width, panel += panel_stride) {
        const auto pack = [&](auto get) UNMASK_INLINE {
          for (int64_t j = 0; j < width; j += kLanes) {
            store(panel + j, words(get(row, first + j), pair ? get(next, first + j) : zero()));
          }
        };
        if (first + reach <= count) {
          pack([](const T* from, int64_t column) { return load(from + column); });
        } else {
          pack([&](const T* from, int64_t column) { return values(from, column, count); });
        }
      }
    }
    const int64_t missing = kernel().words(k) - (k + kDepth - 1) / kDepth;
    for (int64_t first = 0; first < count; first += width, packed += panel_stride) {
      for (int64_t i = 0; i < missing * width; i += kLanes) store(packed + i, zero());
    }
  }

  // For a number of words that kUnrolled divides.
  template <int kRows, int kUnrolled>
  static void tile_of(int64_t words, const float* a, const float* b, float* c, int64_t c_stride,
                      Write write) {
    Vec sum[kRows][2];
    unrolled<kRows>([&](auto r) UNMASK_INLINE {
      sum[r][0] = sum[r][1] = zero();
      // What is added to comes while the products are made.
      if (write == Write::add) prefetch_columns(c + r * c_stride);
    });
    const auto add_word = [&] UNMASK_INLINE {
      const Vec b0 = load(b), b1 = load(b + kLanes);
      unrolled<kRows>([&](auto r) UNMASK_INLINE {
        const Vec x = broadcast(a + r);
        Format::add_product(sum[r][0], x, b0);
        Format::add_product(sum[r][1], x, b1);
      });
      a += kRows, b += kCols;
    };
    for (int64_t w = 0; w < words; w += kUnrolled) {
      unrolled<kUnrolled>([&](auto) UNMASK_INLINE { add_word(); });
    }
    if (write == Write::stream && whole_lines(c, c_stride)) {
      unrolled<kRows>([&](auto r) UNMASK_INLINE {
        stream(c, sum[r][0]);
        stream(c + kLanes, sum[r][1]);
        c += c_stride;
      });
      return;
    }
    unrolled<kRows>([&](auto r) UNMASK_INLINE {
      if (write == Write::add) {
        sum[r][0] = sum[r][0] + load(c);
        sum[r][1] = sum[r][1] + load(c + kLanes);
      }
      store(c, sum[r][0]);
      store(c + kLanes, sum[r][1]);
      c += c_stride;
    });
  }

  template <int kRows = kTileRows>
  static void tile(int64_t rows, int64_t words, const float* a, const float* b, float* c,
                   int64_t c_stride, Write write) {
    if (rows == kRows) {
      const int64_t whole = words - words % kWordsUnrolled;
      if (whole == words && words > 0) {
        return tile_of<kRows, kWordsUnrolled>(words, a, b, c, c_stride, write);
      }
      if (whole > 0) {
        tile_of<kRows, kWordsUnrolled>(whole, a, b, c, c_stride, kept_near(write));
        write = Write::add;
      }
      tile_of<kRows, 1>(words - whole, a + whole * kRows, b + whole * kCols, c, c_stride, write);
    } else if constexpr (kRows > 1) {
      tile<kRows - 1>(rows, words, a, b, c, c_stride, write);
    }
  }

  static constexpr GemmKernel kernel() {
    constexpr Packing packing = {&pack_rows<float>, &pack_columns<float>};
    constexpr PackingOf<bf16> of_bf16 = {&pack_rows<bf16>, &pack_columns<bf16>};
    return {kTileRows, kCols,   kDepth,  Format::kWordStep, kWordsAtOnce,
            packing,   packing, of_bf16, of_bf16,           &tile<kTileRows>};
  }
};

}  // namespace
