// Included inside the namespace of an instruction set, after quantized.inl.h and
// matrix_registers.inl.h: products with a packed tile of quantized weights in matrix registers. The
// packed form is that of the vectors: 16 of its steps are the columns of one product.

namespace {

// Where the columns of one product after the other lie: of 16 words, as they are stored …
template <class OneDot, bool kOfIntegers>
class StoredColumns {
 public:
  using Dot = OneDot;
  static constexpr bool kIntegers = kOfIntegers;
  static constexpr int64_t kSteps = 16;

  StoredColumns(const std::byte* weights, int64_t /*count*/) : next_(weights) {}
  const int32_t* take() {
    const auto* const columns = reinterpret_cast<const int32_t*>(next_);
    next_ += kSteps * QuantizedShape::kStepBytes;
    return columns;
  }

 private:
  const std::byte* next_;
};

// … or unpacked from halves of bytes, one product ahead: what has just been stored is not yet to be
// loaded.
class HalfByteColumns {
 public:
  using Dot = MatrixByteDot;
  static constexpr bool kIntegers = true;
  static constexpr int64_t kSteps = 8;

  HalfByteColumns(const std::byte* weights, int64_t count) : next_(weights), left_(count) {
    unpack();
  }
  const int32_t* take() {
    const int32_t* const columns = unpacked_[left_ % 2];
    if (left_ > 0) unpack();
    return columns;
  }

 private:
  void unpack() {
    int32_t* to = unpacked_[--left_ % 2];
    for (int64_t s = 0; s < kSteps; ++s, to += 2 * kMatrixCols) {
      for (int64_t i = 0; i < kMatrixCols; i += kLanes, next_ += sizeof(Bits)) {
        const Bits v = load_bits(next_);
        store_bits(to + i, masked<0x0f0f0f0f>(v));
        store_bits(to + kMatrixCols + i, masked<0x0f0f0f0f>(shift_right<4>(v)));
      }
    }
  }

  const std::byte* next_;
  int64_t left_;
  alignas(64) int32_t unpacked_[2][kRegisterWords * kMatrixCols];
};

// No rows are better left to vectors.
struct NoRows {
  static constexpr int kMostRows = 0, kRowWords = 1;
};

// `Few` multiplies few rows in vectors, which takes less time than filling registers and emptying
// them.
template <class Columns, class Registers, class Few>
struct MatrixQuantized {
  static constexpr int64_t kGroupsAtOnce = 4;
  using GroupSums = int32_t[kMatrixRows * kMatrixCols];

  // [words / 16][count][16]
  static void interleave(const uint32_t* const* rows, int64_t count, int64_t words,
                         uint32_t* interleaved) {
    if constexpr (Few::kMostRows > 0) {
      if (count <= Few::kMostRows) return Few::interleave(rows, count, words, interleaved);
    }
    for (int64_t w = 0; w < words; w += kRegisterWords) {
      for (int64_t r = 0; r < count; ++r, interleaved += kRegisterWords) {
        __builtin_memcpy(interleaved, rows[r] + w, kRegisterWords * sizeof(uint32_t));
      }
    }
  }

  // What is read after this, a little in every step.
  class Fetch {
   public:
    explicit Fetch(const QuantizedTile& t)
        : stride_(t.fetch_stride),
          left_(t.fetch_steps),
          from_(reinterpret_cast<const char*>(t.fetch)),
          next_(reinterpret_cast<const char*>(t.fetch_next)) {}

    void advance(int64_t steps) {
      if (left_ <= 0) {
        from_ = next_;
        left_ = INT64_MAX;
      }
      left_ -= steps;
      for (int64_t s = 0; s < steps; ++s, from_ += stride_) {
        _mm_prefetch(from_, _MM_HINT_T1);
        _mm_prefetch(from_ + stride_ / 2, _MM_HINT_T1);
      }
    }

   private:
    int64_t stride_, left_;
    const char *from_, *next_;
  };

  // out [rows][32] (+)= sum over groups [g, g + count) of (sums + start) * scales, and at last *
  // the scales of the rows.
  static void add_groups(const GroupSums* sums, int64_t g, int64_t count, const QuantizedTile& t,
                         const InterleavedRows& x, float* out) {
    const int64_t rows = x.count;
    const bool first = g == 0, last = g + count == t.groups;
    for (int64_t j = 0; j < kMatrixCols; j += kLanes) {
      Vec scale[kGroupsAtOnce];
      for (int64_t i = 0; i < count; ++i)
        scale[i] = load_scales(t.scales + (g + i) * kMatrixCols + j);
      for (int64_t r = 0; r < rows; ++r) {
        float* const to = out + r * kMatrixCols + j;
        Vec all = first ? zero() : load(to);
        for (int64_t i = 0; i < count; ++i) {
          const Bits start = broadcast_bits(x.start + (g + i) * rows + r);
          all = all + to_floats(add_32(load_bits(sums[i] + r * kMatrixCols + j), start)) * scale[i];
        }
        store(to, last ? all * broadcast(x.scale + r) : all);
      }
    }
  }

  static void tile(const QuantizedTile& t, const InterleavedRows& x, float* out) {
    if constexpr (Few::kMostRows > 0) {
      if (x.count <= Few::kMostRows) return Few::tile(t, x, out);
    }
    alignas(64) GroupSums of_groups[kGroupsAtOnce];
    MatrixSums<Registers> sums(x.count);
    Columns columns(t.weights, t.groups * t.steps / Columns::kSteps);
    Fetch fetch(t);
    const uint32_t* words = x.words;
    for (int64_t g = 0; g < t.groups; ++g) {
      sums.clear();
      for (int64_t s = 0; s < t.steps; s += Columns::kSteps, words += x.count * kRegisterWords) {
        fetch.advance(Columns::kSteps);
        sums.template add<typename Columns::Dot>(words, columns.take());
      }
      if constexpr (Columns::kIntegers) {
        const int64_t place = g % kGroupsAtOnce;
        sums.store_all(of_groups[place]);
        if (place + 1 == kGroupsAtOnce || g + 1 == t.groups) {
          add_groups(of_groups, g - place, place + 1, t, x, out);
        }
      }
    }
    if constexpr (!Columns::kIntegers) sums.store(out, kMatrixCols);
  }

  static constexpr QuantizedKernel kernel() {
    return {kMatrixRows, Few::kRowWords, &interleave, &tile};
  }
};

}  // namespace
