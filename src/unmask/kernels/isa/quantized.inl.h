// Included inside the namespace of an instruction set, after its lanes and unrolled.inl.h: products
// with a packed tile of quantized weights (quantized_kernel.h). `Bits` are 32-bit words in the
// lanes of a vector.

namespace {

#ifdef __AVX512F__
using Bits = __m512i;
inline Bits load_bits(const void* p) { return _mm512_loadu_si512(p); }
inline void store_bits(void* p, Bits v) { _mm512_storeu_si512(p, v); }
inline Bits broadcast_bits(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
inline Bits word(int32_t value) { return _mm512_set1_epi32(value); }
template <uint32_t kMask>
inline Bits masked(Bits v) {
  return _mm512_and_si512(v, word(int32_t(kMask)));
}
template <int kBits>
inline Bits shift_right(Bits v) {
  return _mm512_srli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_left(Bits v) {
  return _mm512_slli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_right_16(Bits v) {
  return _mm512_srai_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_left_16(Bits v) {
  return _mm512_slli_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_right_unsigned_16(Bits v) {
  return _mm512_srli_epi16(v, kBits);
}
inline Bits multiply_pairs(Bits a, Bits b) { return _mm512_madd_epi16(a, b); }
inline Bits add_16(Bits a, Bits b) { return _mm512_add_epi16(a, b); }
inline Bits add_32(Bits a, Bits b) { return _mm512_add_epi32(a, b); }
inline Bits byte_pairs(Bits unsigned_bytes, Bits bytes) {
  return _mm512_maddubs_epi16(unsigned_bytes, bytes);
}
inline Vec as_floats(Bits v) { return _mm512_castsi512_ps(v); }
inline Bits as_bits(Vec v) { return _mm512_castps_si512(v); }
inline Vec to_floats(Bits v) { return _mm512_cvtepi32_ps(v); }
inline Vec load_scales(const bf16* p) {
  return as_floats(shift_left<16>(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))));
}
#else
using Bits = __m256i;
inline Bits load_bits(const void* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_bits(void* p, Bits v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline Bits broadcast_bits(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}
inline Bits word(int32_t value) { return _mm256_set1_epi32(value); }
// The mask is an operand in memory, because GCC keeps a constant in a register that the sums need.
struct alignas(32) Words {
  uint32_t word[8];
};
template <uint32_t kWord>
constexpr Words kEvery = {{kWord, kWord, kWord, kWord, kWord, kWord, kWord, kWord}};
template <uint32_t kMask>
inline Bits masked(Bits v) {
  Bits kept;
  asm("vpand %2, %1, %0" : "=v"(kept) : "v"(v), "m"(kEvery<kMask>));
  return kept;
}
template <int kBits>
inline Bits shift_right(Bits v) {
  return _mm256_srli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_left(Bits v) {
  return _mm256_slli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_right_16(Bits v) {
  return _mm256_srai_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_left_16(Bits v) {
  return _mm256_slli_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_right_unsigned_16(Bits v) {
  return _mm256_srli_epi16(v, kBits);
}
inline Bits multiply_pairs(Bits a, Bits b) { return _mm256_madd_epi16(a, b); }
inline Bits add_16(Bits a, Bits b) { return _mm256_add_epi16(a, b); }
inline Bits add_32(Bits a, Bits b) { return _mm256_add_epi32(a, b); }
inline Bits byte_pairs(Bits unsigned_bytes, Bits bytes) {
  return _mm256_maddubs_epi16(unsigned_bytes, bytes);
}
inline Vec as_floats(Bits v) { return _mm256_castsi256_ps(v); }
inline Bits as_bits(Vec v) { return _mm256_castps_si256(v); }
inline Vec to_floats(Bits v) { return _mm256_cvtepi32_ps(v); }
inline Vec load_scales(const bf16* p) {
  return as_floats(
      shift_left<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
}
#endif

inline Bits upper_halves(Bits v) { return masked<0xffff0000>(v); }

// sum[lane] += a · b of the lane's two 16-bit integers. An instruction of its own, because GCC 12
// adds products to each other first and has no registers left for the sums.
inline void add_pairs(Bits& sum, Bits a, Bits b) {
  asm("vpaddd %1, %0, %0" : "+v"(sum) : "v"(multiply_pairs(a, b)));
}

// What a sum begins with. An instruction of its own, because GCC 12 loads a word once and copies
// it.
inline Bits start_of(const int32_t* p) {
  Bits start;
  asm volatile("vpbroadcastd %1, %0" : "=v"(start) : "m"(*p));
  return start;
}

// A loaded vector that stays in its register: GCC 12 would load it again for every use.
inline Bits held(Bits v) {
  asm("" : "+v"(v));
  return v;
}

// How weights meet activations. A word of a row is kept as `kRowWords` words; in each step `kWords`
// of those meet a word of weights, `kAtOnce` at a time: `split` gives what of the weights meets
// words i … i + kAtOnce - 1. Sums are added to in place: from intrinsics GCC 12 copies every
// accumulator in every step.

// bf16 in f32 arithmetic, exact products: the lower value, then the upper.
struct SpelledOutBf16 {
  using Sum = Vec;
  static constexpr int kRowWords = 2, kWords = 2, kAtOnce = 1;
  static void split(Bits v, int i, Bits* w) { w[0] = i == 0 ? shift_left<16>(v) : upper_halves(v); }
  static void split_row(Bits v, Bits* x) {
    for (int i = 0; i < kRowWords; ++i) split(v, i, x + i);
  }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(as_floats(x[0])), "v"(as_floats(w[0])));
  }
};

// Bytes in 16-bit arithmetic, exact: bytes 0 and 2 of each word, then 1 and 3. (The byte products
// of AVX2 add pairs in 16 bits, which 255 * 127 * 2 does not fit.)
struct ByteHalves {
  using Sum = Bits;
  static constexpr int kRowWords = 2, kWords = 2, kAtOnce = 1;
  static void split(Bits v, int i, Bits* w) {
    w[0] = i == 0 ? masked<0x00ff00ff>(v) : shift_right_unsigned_16<8>(v);
  }
  static void split_row(Bits v, Bits* x) {
    x[0] = shift_right_16<8>(shift_left_16<8>(v));
    x[1] = shift_right_16<8>(v);
  }
  static void add(Sum& sum, const Bits* w, const Bits* x) { add_pairs(sum, w[0], x[0]); }
};

// Halves of bytes in the byte products of AVX2, exact: 15 * 127 * 4 fits 16 bits. The lower halves
// meet one word of the row, the upper ones the next.
struct HalfByteProducts {
  using Sum = Bits;
  static constexpr int kRowWords = 1, kWords = 2, kAtOnce = 2;
  static void split(Bits v, int /*i*/, Bits* w) {
    w[0] = masked<0x0f0f0f0f>(v);
    w[1] = masked<0x0f0f0f0f>(shift_right<4>(v));
  }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    const Bits pairs = add_16(byte_pairs(w[0], x[0]), byte_pairs(w[1], x[1]));
    add_pairs(sum, pairs, word(0x00010001));
  }
};

// What a dot instruction takes as it is stored.
struct WholeWordDot {
  static constexpr int kRowWords = 1, kWords = 1, kAtOnce = 1;
  static void split(Bits v, int /*i*/, Bits* w) { w[0] = v; }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
};

// For peak.inl.h.
struct ByteHalvesPeak {
  static constexpr int kDepth = 4;
  static void add_product(Vec& sum, Vec a, Vec b) {
    const Bits w = as_bits(a), x = as_bits(b);
    Bits total = as_bits(sum);
    for (int i = 0; i < ByteHalves::kWords; ++i) ByteHalves::add(total, &w, &x);
    sum = as_floats(total);
  }
};

// What a loaded word holds: one word of weights, or the two of packed halves of bytes.
struct WholeWords {
  static constexpr int kParts = 1;
  static Bits part(Bits v, int /*i*/) { return v; }
};
struct HalfBytes {
  static constexpr int kParts = 2;
  static Bits part(Bits v, int i) { return masked<0x0f0f0f0f>(i == 0 ? v : shift_right<4>(v)); }
};

// Memory that is fetched ahead, a little in every step, from pages that are found already
// (prefetch.h). What is read once and soon may pass by the outer caches (Zen 5: 0.93 to 0.96 of the
// time where memory bounds it). The rest is asked for into the first level, whose prefetches end
// sooner (0.90 to 0.93 of the time), but not by narrow vectors: they read a group in two turns.
class Fetch {
 public:
  // `passes` times through the steps of a tile. Where that is once, memory bounds it: the tile
  // itself, a little ahead. Else arithmetic does: the next tile, evenly over all passes.
  Fetch(const QuantizedTile& t, int64_t passes)
      : share_((QuantizedShape::kStepBytes + passes - 1) / passes), next_(begin_of(t.next)) {
    if (passes == 1) {
      at_ = begin_of(t.weights) + kAhead;
      left_ = t.groups * t.steps * QuantizedShape::kStepBytes - kAhead;
    }
  }

  // Bytes of a step that is done in so many turns.
  int64_t stride(int64_t turns) const { return (share_ + turns - 1) / turns; }
  // Where the next so many bytes begin.
  const char* take(int64_t bytes) {
    if (left_ <= 0) switch_to_next();
    const char* const from = at_;
    at_ += bytes;
    left_ -= bytes;
    return from;
  }

 private:
  static constexpr int64_t kAhead = 8192;

  static const char* begin_of(const std::byte* p) { return reinterpret_cast<const char*>(p); }
  void switch_to_next() {
    at_ = next_;
    left_ = INT64_MAX;
  }

  int64_t share_;  // of the bytes of a step
  const char* next_;
  const char* at_ = nullptr;
  int64_t left_ = 0;  // before `next_`
};

template <class Dot, class Parts, int kMaxRows>
struct QuantizedTiles {
  static constexpr int kMostRows = kMaxRows;
  static constexpr int kRowWords = Dot::kRowWords, kWords = Dot::kWords, kAtOnce = Dot::kAtOnce;
  static constexpr int64_t kTile = QuantizedShape::kTile;
  static constexpr int64_t kStepBytes = QuantizedShape::kStepBytes;
  static constexpr bool kIntegers = __is_same(typename Dot::Sum, Bits);
  // Steps of floats between decisions what to fetch, and between turns at a group: what is read in
  // both turns stays in the first level.
  static constexpr int64_t kChunk = kLanes == 16 ? 16 : 64;

  static void interleave(const uint32_t* const* rows, int64_t count, int64_t words,
                         uint32_t* interleaved) {
    for (int64_t w = 0; w < words; w += kLanes) {
      const int64_t live = words - w < kLanes ? words - w : kLanes;
      Vec block[kLanes];
      for (int64_t r = 0; r < kLanes; ++r) {
        const auto* const row = reinterpret_cast<const float*>(rows[r < count ? r : 0]) + w;
        block[r] = live == kLanes ? load(row) : load_partial(row, live);
      }
      transpose(block);
      for (int64_t i = 0; i < live; ++i) {
        Bits parts[kRowWords];
        Dot::split_row(as_bits(block[i]), parts);
        for (int part = 0; part < kRowWords; ++part, interleaved += count) {
          store_partial(reinterpret_cast<float*>(interleaved), as_floats(parts[part]), count);
        }
      }
    }
  }

  // sum[r][v] += row r of x times vector v of the weights, for one step.
  template <int kRows, int kVectors>
  static void add_step(typename Dot::Sum (&sum)[kRows][kVectors], const Bits (&weights)[kVectors],
                       int part, const uint32_t* words) {
    const auto load_row = [&](int r, int i, Bits* row) {
      for (int j = 0; j < kAtOnce; ++j) row[j] = broadcast_bits(words + (i + j) * kRows + r);
    };
#pragma GCC unroll 2
    for (int i = 0; i < kWords; i += kAtOnce) {
      if constexpr (kVectors > kRows) {  // what there is less of stays in registers
        Bits row[kRows][kAtOnce], w[kAtOnce];
        for (int r = 0; r < kRows; ++r) load_row(r, i, row[r]);
        unrolled<kVectors>([&](auto v) UNMASK_INLINE {
          Dot::split(Parts::part(weights[v], part), i, w);
          unrolled<kRows>([&](auto r) UNMASK_INLINE { Dot::add(sum[r][v], w, row[r]); });
        });
      } else {
        Bits w[kVectors][kAtOnce], row[kAtOnce];
        for (int v = 0; v < kVectors; ++v) Dot::split(Parts::part(weights[v], part), i, w[v]);
        unrolled<kRows>([&](auto r) UNMASK_INLINE {
          load_row(r, i, row);
          unrolled<kVectors>([&](auto v) UNMASK_INLINE { Dot::add(sum[r][v], w[v], row); });
        });
      }
    }
  }

  // out [kRows][32] = the rows times the tile, which is gone through once for each block of rows.
  template <int kRows, bool kOnce>
  static void rows_of_tile(const QuantizedTile& t, const InterleavedRows& x, Fetch& fetch,
                           float* out) {
    // Vectors of outputs at a time: narrow ones take two turns at a group, unless rows are so few
    // that the sums of all outputs fit the registers.
    constexpr int kVectors = kLanes == 8 && kRows <= 2 ? 4 : 2;
    constexpr int kTurns = kTile / (kVectors * kLanes);
    // Few rows have a second set of (exact) sums, for the odd words: a dot instruction takes four
    // cycles, of which two begin in each.
    constexpr int kSets = kIntegers && kTurns == 1 && kRows <= 4 ? 2 : 1;
    constexpr int kStepsAtOnce = kSets > Parts::kParts ? kSets / Parts::kParts : 1;
    [[maybe_unused]] constexpr _mm_hint kHint = kOnce ? _MM_HINT_NTA : _MM_HINT_T0;
    using Sum = typename Dot::Sum;
    using Sums = Sum[kRows][kVectors];

    const int64_t stride = fetch.stride(kTurns);
    const std::byte* group = t.weights;
    const uint32_t* group_words = x.words;
    [[maybe_unused]] const int32_t* start = x.start;
    [[maybe_unused]] const bf16* scales = t.scales;
    const auto for_all = [](auto body) UNMASK_INLINE {
      unrolled<kRows>([&](auto r) UNMASK_INLINE {
        unrolled<kVectors>([&](auto v) UNMASK_INLINE { body(r, v); });
      });
    };
    Vec total[kTurns][kRows][kVectors];
#pragma GCC unroll 2
    for (int turn = 0; turn < kTurns; ++turn) {
      for_all([&](auto r, auto v) UNMASK_INLINE { total[turn][r][v] = zero(); });
    }

    // Of floats the steps that are left, of integers the groups.
    for (int64_t left = kIntegers ? t.groups : t.steps; left > 0; left -= kIntegers ? 1 : kChunk) {
      const int64_t steps = kIntegers ? t.steps : left < kChunk ? left : kChunk;
#pragma GCC unroll 2
      for (int turn = 0; turn < kTurns; ++turn) {
        const int64_t column = turn * kVectors * kLanes;
        const std::byte* w = group + column * 4;
        const uint32_t* words = group_words;
        Sums sums[kSets];
        for_all([&](auto r, auto v) UNMASK_INLINE {
          if constexpr (kIntegers) {
            sums[0][r][v] = start_of(start + r);
            if constexpr (kSets == 2) sums[1][r][v] = word(0);
          } else {
            sums[0][r][v] = total[turn][r][v];
          }
        });
        const char* far = fetch.take(steps * stride);
        for (int64_t s = 0; s < steps; s += kStepsAtOnce) {
#pragma GCC unroll 2
          for (int i = 0; i < kStepsAtOnce; ++i, w += kStepBytes, far += stride) {
            if constexpr (kTurns == 1) {
              _mm_prefetch(far, kHint);  // a line; two where the tile is gone through once
              if constexpr (kOnce) _mm_prefetch(far + stride / 2, kHint);
            } else {
              _mm_prefetch(far, _MM_HINT_T1);  // NTA: up to 1.25 times as slow (AVX2, Zen 5)
            }
            Bits weights[kVectors];
            for (int v = 0; v < kVectors; ++v) weights[v] = held(load_bits(w + 4 * kLanes * v));
#pragma GCC unroll 2
            for (int part = 0; part < Parts::kParts; ++part, words += kWords * kRows) {
              add_step<kRows, kVectors>(sums[(i * Parts::kParts + part) % kSets], weights, part,
                                        words);
            }
          }
        }
        unrolled<kVectors>([&](auto v) UNMASK_INLINE {
          if constexpr (kIntegers) {
            const Vec scale = load_scales(scales + column + v * kLanes);
            unrolled<kRows>([&](auto r) UNMASK_INLINE {
              Bits sum = sums[0][r][v];
              if constexpr (kSets == 2) sum = add_32(sum, sums[1][r][v]);
              total[turn][r][v] = total[turn][r][v] + to_floats(sum) * scale;
            });
          } else {
            unrolled<kRows>([&](auto r) UNMASK_INLINE { total[turn][r][v] = sums[0][r][v]; });
          }
        });
        if (turn + 1 == kTurns) {
          group = w - column * 4;
          group_words = words;
        }
      }
      if constexpr (kIntegers) {
        start += kRows;
        scales += kTile;
      }
    }

#pragma GCC unroll 2
    for (int turn = 0; turn < kTurns; ++turn) {
      for_all([&](auto r, auto v) UNMASK_INLINE {
        Vec all = total[turn][r][v];
        if constexpr (kIntegers) all = all * broadcast(x.scale + r);
        store(out + r * kTile + (turn * kVectors + v) * kLanes, all);
      });
    }
  }

  template <bool kOnce, int kRows = kMaxRows>
  static void multiply(const QuantizedTile& t, const InterleavedRows& x, Fetch& fetch, float* out) {
    if (x.count == kRows) {
      rows_of_tile<kRows, kOnce>(t, x, fetch, out);
    } else if constexpr (kRows > 1) {
      multiply<kOnce, kRows - 1>(t, x, fetch, out);
    }
  }

  static void tile(const QuantizedTile& t, const InterleavedRows* blocks, int64_t count,
                   float* out) {
    Fetch fetch(t, count);
    if (count == 1) return multiply<true>(t, *blocks, fetch, out);
    for (int64_t b = 0; b < count; out += blocks[b].count * kTile, ++b) {
      multiply<false>(t, blocks[b], fetch, out);
    }
  }

  static constexpr QuantizedKernel kernel() { return {kMaxRows, kRowWords, &interleave, &tile}; }
};

}  // namespace
