// Included inside the namespace of an instruction set, after quantized.inl.h and
// matrix_registers.inl.h: products with a packed tile of quantized weights in matrix registers. The
// packed form is that of the vectors: 16 of its steps are the columns of one product.

namespace {

// Where the columns of one product after the other lie: of 16 words, as they are stored …
template <class OneDot, bool kOfIntegers>
class StoredColumns {
 public:
  using Dot = OneDot;
  static constexpr bool kIntegers = kOfIntegers, kRaised = kOfIntegers;
  static constexpr float kUnit = 1;
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
// loaded. A half that stays in the upper half of its byte, its highest bit turned, is 16 times its
// level: signed, so that no sum has to be put right.
class HalfByteColumns {
 public:
  using Dot = MatrixSignedByteDot;
  static constexpr bool kIntegers = true, kRaised = false;
  static constexpr float kUnit = 1.0f / 16;  // of a level
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
  static Bits levels_of_upper_halves(Bits v) {
    return masked<0xf0f0f0f0>(v) ^ word(int32_t(0x80808080));
  }
  void unpack() {
    int32_t* to = unpacked_[--left_ % 2];
    for (int64_t s = 0; s < kSteps; ++s, to += 2 * kMatrixCols) {
      for (int64_t i = 0; i < kMatrixCols; i += kLanes, next_ += sizeof(Bits)) {
        const Bits v = load_bits(next_);
        store_bits(to + i, levels_of_upper_halves(shift_left<4>(v)));
        store_bits(to + kMatrixCols + i, levels_of_upper_halves(v));
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

// `Few` multiplies a block of few rows in vectors, which takes less time than filling registers and
// emptying them. (Rows that are cut give blocks of at least half of kMatrixRows.)
template <class Columns, class Registers, class Few>
struct MatrixQuantized {
  static constexpr int kGroupsAtOnce = 4;
  static constexpr _mm_hint kInto = IntoSecondLevel::kLater;
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

  // What is asked for beside each product and each vector of sums that is added, so that memory
  // works all the time. Adding the sums of a group takes 3/5 of the time of a product.
  struct Requests {
    Requests(const QuantizedTile& t, int64_t rows, const Fetch& fetch) {
      const int64_t products = t.steps / Columns::kSteps, bytes = fetch.stride(1) * t.steps;
      const int64_t sums = Columns::kIntegers ? bytes * 3 / (5 * products + 3) : 0;
      product_bytes = (bytes - sums) / products;
      vector_bytes = sums / (rows * (kMatrixCols / kLanes));
    }
    int64_t product_bytes;
    int64_t vector_bytes;
  };

  // out [rows][32] (+)= sum over kCount groups from g on of (sums + start) * scales, and at last *
  // the scales of the rows.
  template <int kCount>
  static void add_groups(const GroupSums* sums, int64_t g, const QuantizedTile& t,
                         const InterleavedRows& x, const Requests& requests, Fetch& fetch,
                         float* out) {
    const int64_t rows = x.count;
    const bool first = g == 0, last = g + kCount == t.groups;
    for (int64_t j = 0; j < kMatrixCols; j += kLanes) {
      Vec scale[kCount];
      unrolled<kCount>([&](auto i) UNMASK_INLINE {
        scale[i] = load_scales(t.scales + (g + i) * kMatrixCols + j);
      });
      const int32_t* start = x.start + g * rows;
      float* to = out + j;
      for (int64_t r = 0; r < rows; ++r, ++start, to += kMatrixCols) {
        fetch.bring<kInto>(kCount * requests.vector_bytes);
        Vec all = first ? zero() : load(to);
        unrolled<kCount>([&](auto i) UNMASK_INLINE {
          Bits sum = load_bits(sums[i] + r * kMatrixCols + j);
          if constexpr (Columns::kRaised) sum = add_32(sum, broadcast_bits(start + i * rows));
          all = all + to_floats(sum) * scale[i];
        });
        store(to, last ? all * (broadcast(x.scale + r) * Columns::kUnit) : all);
      }
    }
  }

  static void multiply(const QuantizedTile& t, const InterleavedRows& x, Fetch& fetch, float* out) {
    alignas(64) GroupSums of_groups[kGroupsAtOnce];
    MatrixSums<Registers> sums(x.count);
    Columns columns(t.weights, t.groups * t.steps / Columns::kSteps);
    const Requests requests(t, x.count, fetch);
    const uint32_t* words = x.words;
    for (int64_t g = 0; g < t.groups; ++g) {
      sums.clear();
      for (int64_t s = 0; s < t.steps; s += Columns::kSteps, words += x.count * kRegisterWords) {
        sums.load(words, columns.take());
        fetch.bring<kInto>(requests.product_bytes);
        sums.template add_product<typename Columns::Dot>();
      }
      if constexpr (Columns::kIntegers) {
        const int64_t place = g % kGroupsAtOnce;
        sums.store(of_groups[place], kMatrixCols);
        if (place + 1 == kGroupsAtOnce) {
          add_groups<kGroupsAtOnce>(of_groups, g - place, t, x, requests, fetch, out);
        } else if (g >= t.groups / kGroupsAtOnce * kGroupsAtOnce) {
          add_groups<1>(of_groups + place, g, t, x, requests, fetch, out);
        }
      }
    }
    if constexpr (!Columns::kIntegers) sums.store(out, kMatrixCols);
  }

  static void tile(const QuantizedTile& t, const InterleavedRows* blocks, int64_t count,
                   float* out) {
    if constexpr (Few::kMostRows > 0) {
      if (blocks->count <= Few::kMostRows) return Few::tile(t, blocks, count, out);
    }
    Fetch fetch(t, count);
    for (int64_t b = 0; b < count; out += blocks[b].count * kMatrixCols, ++b) {
      multiply(t, blocks[b], fetch, out);
    }
  }

  static constexpr QuantizedKernel kernel() {
    return {kMatrixRows, Few::kRowWords, &interleave, &tile};
  }
};

}  // namespace
