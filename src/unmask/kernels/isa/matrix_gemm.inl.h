// Included inside the namespace of an instruction set, after gemm.inl.h and
// matrix_registers.inl.h: the engine of gemm_kernel.h in matrix registers. Panels of B are packed
// as for the vectors; tiles of A so that a row's 16 words lie together.

namespace {

// bf16 pairs, 16 words at a time.
template <class Pairs>
struct SteppedPairs : Pairs {
  static constexpr int kWordStep = kRegisterWords;
};

template <class Pairs, class Registers>
struct MatrixGemm {
  using Panels = Gemm<SteppedPairs<Pairs>>;
  static constexpr int kDepth = 2;

  template <class T>
  static void pack_rows(const T* source, int64_t stride, const int32_t* index, int64_t count,
                        int64_t width, int64_t k, float* packed) {
    const int64_t words = Panels::kernel().words(k);
    for (int64_t i = 0; i < width; ++i) {
      const T* const row = source + (index && i < count ? index[i] : i) * stride;
      float* to = packed + i * kRegisterWords;
      for (int64_t first = 0; first < words;
           first += kRegisterWords, to += width * kRegisterWords) {
        for (int64_t w = first; w < first + kRegisterWords; w += kLanes) {
          store(to + (w - first),
                i < count ? Panels::words_along(row + w * kDepth, k - w * kDepth) : zero());
        }
      }
    }
  }

  template <class T>
  static void pack_columns(const T* source, int64_t stride, const int32_t* index, int64_t count,
                           int64_t width, int64_t k, float* packed) {
    const int64_t words = Panels::kernel().words(k);
    const int64_t tile_stride = kernel().panel_stride(k, width);
    // Some columns of source row p; zero past the last.
    const auto values = [&](int64_t p, int64_t column, int64_t end) {
      return p < k ? Panels::values(source + (index ? index[p] : p) * stride, column, end) : zero();
    };
    for (int64_t first = 0; first < words; first += kLanes) {
      float* tile =
          packed + first / kRegisterWords * kRegisterWords * width + first % kRegisterWords;
      for (int64_t begin = 0; begin < count; begin += width, tile += tile_stride) {
        for (int64_t j = 0; j < width; j += kLanes) {
          const int64_t end = begin + width < count ? begin + width : count;
          Vec block[kLanes];
          for (int64_t i = 0; i < kLanes; ++i) {
            const int64_t p = (first + i) * kDepth;
            block[i] = Pairs::across(values(p, begin + j, end), values(p + 1, begin + j, end));
          }
          transpose(block);
          const int64_t rows = width - j < kLanes ? width - j : kLanes;
          for (int64_t r = 0; r < rows; ++r) store(tile + (j + r) * kRegisterWords, block[r]);
        }
      }
    }
  }

  // c comes from memory while the products are made; what is added to it, or does not stay in the
  // caches, passes through vectors: registers that began with it would have waited for it.
  static void tile(int64_t rows, int64_t words, const float* a, const float* b, float* c,
                   int64_t c_stride, Write write) {
    const bool past_caches = write == Write::stream && Panels::whole_lines(c, c_stride);
    const bool panel = c_stride == kMatrixCols;  // of scratch, in the caches already
    for (int64_t r = 0; r < rows && !past_caches && !panel; ++r) {
      Panels::prefetch_columns(c + r * c_stride);
    }
    MatrixSums<Registers> sums(rows);
    sums.clear();
    for (int64_t w = 0; w < words; w += kRegisterWords) {
      sums.load(a + w * rows, b + w * kMatrixCols);
      sums.template add_product<MatrixPairDot>();
    }
    if (write != Write::add && !past_caches) return sums.store(c, c_stride);
    alignas(64) float products[kMatrixRows * kMatrixCols];
    sums.store(products, kMatrixCols);
    for (int64_t r = 0; r < rows; ++r, c += c_stride) {
      const float* const product = products + r * kMatrixCols;
      for (int64_t j = 0; j < kMatrixCols; j += kLanes) {
        if (past_caches) {
          stream(c + j, load(product + j));
        } else {
          store(c + j, load(c + j) + load(product + j));
        }
      }
    }
  }

  static constexpr GemmKernel kernel() {
    return {kMatrixRows,
            kMatrixCols,
            kDepth,
            kRegisterWords,
            2 * kWordsAtOnce,
            {&pack_rows<float>, &pack_columns<float>},
            {&Panels::template pack_rows<float>, &Panels::template pack_columns<float>},
            {&pack_rows<bf16>, &pack_columns<bf16>},
            {&Panels::template pack_rows<bf16>, &Panels::template pack_columns<bf16>},
            &tile};
  }
};

}  // namespace
