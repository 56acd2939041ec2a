// Included inside the namespace of an instruction set, after its lanes: products with a packed tile
// of quantized weights (quantized_kernel.h). `Bits` are 32-bit words in the lanes of a vector.

namespace {

#ifdef __AVX512F__
using Bits = __m512i;
inline Bits load_bits(const void* p) { return _mm512_loadu_si512(p); }
inline Bits broadcast_bits(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
inline Bits word(int32_t value) { return _mm512_set1_epi32(value); }
inline Bits both(Bits a, Bits b) { return _mm512_and_si512(a, b); }
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
inline Bits add_pairs(Bits sum, Bits a, Bits b) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
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
inline Bits broadcast_bits(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}
inline Bits word(int32_t value) { return _mm256_set1_epi32(value); }
inline Bits both(Bits a, Bits b) { return _mm256_and_si256(a, b); }
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
inline Bits add_pairs(Bits sum, Bits a, Bits b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
inline Vec as_floats(Bits v) { return _mm256_castsi256_ps(v); }
inline Bits as_bits(Vec v) { return _mm256_castps_si256(v); }
inline Vec to_floats(Bits v) { return _mm256_cvtepi32_ps(v); }
inline Vec load_scales(const bf16* p) {
  return as_floats(
      shift_left<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
}
#endif

inline Bits upper_halves(Bits v) { return both(v, word(int32_t(0xffff0000))); }

// How a word of weights meets a word of activations. `kWords` words stand for one of either.
// Sums are added to in place: from intrinsics GCC 12 copies every accumulator in every step.

// bf16 in f32 arithmetic, exact products: the lower value, then the upper.
struct SpelledOutBf16 {
  using Sum = Vec;
  static constexpr int kWords = 2;
  static void split(Bits v, Bits* w) {
    w[0] = shift_left<16>(v);
    w[1] = upper_halves(v);
  }
  static void split_row(Bits v, Bits* x) { split(v, x); }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(as_floats(x[0])), "v"(as_floats(w[0])));
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(as_floats(x[1])), "v"(as_floats(w[1])));
  }
};

// Bytes in 16-bit arithmetic, exact: bytes 0 and 2 of each word, then 1 and 3. (The byte products
// of AVX2 add pairs in 16 bits, which 255 * 127 * 2 does not fit.)
struct ByteHalves {
  using Sum = Bits;
  static constexpr int kWords = 2;
  static void split(Bits v, Bits* w) {
    w[0] = both(v, word(0x00ff00ff));
    w[1] = shift_right_unsigned_16<8>(v);
  }
  static void split_row(Bits v, Bits* x) {
    x[0] = shift_right_16<8>(shift_left_16<8>(v));
    x[1] = shift_right_16<8>(v);
  }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    sum = add_pairs(add_pairs(sum, w[0], x[0]), w[1], x[1]);
  }
};

// For peak.inl.h.
struct ByteHalvesPeak {
  static constexpr int kDepth = 4;
  static Vec multiply_add(Vec a, Vec b, Vec sum) {
    const Bits w[2] = {as_bits(a), as_bits(a)}, x[2] = {as_bits(b), as_bits(b)};
    Bits total = as_bits(sum);
    ByteHalves::add(total, w, x);
    return as_floats(total);
  }
};

// What a loaded word holds: one word of weights, or the two of packed halves of bytes.
struct WholeWords {
  static constexpr int kParts = 1;
  static Bits part(Bits v, int /*i*/) { return v; }
};
struct HalfBytes {
  static constexpr int kParts = 2;
  static Bits part(Bits v, int i) { return both(i == 0 ? v : shift_right<4>(v), word(0x0f0f0f0f)); }
};

template <class Dot, class Parts, int kMaxRows>
struct QuantizedTiles {
  static constexpr int kWords = Dot::kWords;
  static constexpr int64_t kTile = QuantizedShape::kTile;
  static constexpr int64_t kStepBytes = QuantizedShape::kStepBytes;
  static constexpr bool kIntegers = __is_same(typename Dot::Sum, Bits);
  static constexpr int64_t kChunk = 16;  // steps between decisions what to fetch

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
        Bits parts[kWords];
        Dot::split_row(as_bits(block[i]), parts);
        for (int part = 0; part < kWords; ++part, interleaved += count) {
          store_partial(reinterpret_cast<float*>(interleaved), as_floats(parts[part]), count);
        }
      }
    }
  }

  template <int kRows>
  static void rows_of_tile(const QuantizedTile& t, const InterleavedRows& x, float* out) {
    // Two vectors of outputs at a time: with narrow vectors the tile is read in two passes.
    for (int64_t column = 0; column < kTile; column += 2 * kLanes) {
      const std::byte* w = t.weights + column * 4;
      const char* far = reinterpret_cast<const char*>(t.fetch) + column * 4;
      int64_t fetch_steps = t.fetch_steps;
      const uint32_t* words = x.words;
      for (int64_t g = 0; g < t.groups; ++g) {
        typename Dot::Sum sum[kRows][2];
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          if constexpr (kIntegers) {
            sum[r][0] = sum[r][1] = broadcast_bits(x.start + g * kRows + r);
          } else {
            sum[r][0] = sum[r][1] = zero();
          }
        }
        for (int64_t first = 0; first < t.steps; first += kChunk) {
          const int64_t count = t.steps - first < kChunk ? t.steps - first : kChunk;
          if (fetch_steps <= 0) {
            far = reinterpret_cast<const char*>(t.fetch_next) + column * 4;
            fetch_steps = INT64_MAX;
          }
          fetch_steps -= count;
          for (int64_t s = 0; s < count; ++s, w += kStepBytes, far += t.fetch_stride) {
            // Not into the first level: that holds the activations, which every step reads.
            _mm_prefetch(far, _MM_HINT_T1);
            if (kLanes == 16) _mm_prefetch(far + t.fetch_stride / 2, _MM_HINT_T1);
            const Bits left = load_bits(w), right = load_bits(w + 4 * kLanes);
#pragma GCC unroll 2
            for (int part = 0; part < Parts::kParts; ++part, words += kWords * kRows) {
              Bits a[kWords], b[kWords], row[kWords];
              Dot::split(Parts::part(left, part), a);
              Dot::split(Parts::part(right, part), b);
#pragma GCC unroll 16
              for (int r = 0; r < kRows; ++r) {
                for (int i = 0; i < kWords; ++i) row[i] = broadcast_bits(words + i * kRows + r);
                Dot::add(sum[r][0], a, row);
                Dot::add(sum[r][1], b, row);
              }
            }
          }
        }
        if constexpr (kIntegers) {
          const bf16* const group_scales = t.scales + g * kTile + column;
          const Vec scale[2] = {load_scales(group_scales), load_scales(group_scales + kLanes)};
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            for (int half = 0; half < 2; ++half) {
              float* const to = out + r * kTile + column + half * kLanes;
              const Vec before = g == 0 ? zero() : load(to);
              const Vec all = before + to_floats(sum[r][half]) * scale[half];
              store(to, g + 1 < t.groups ? all : all * broadcast(x.scale + r));
            }
          }
        } else {
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            store(out + r * kTile + column, sum[r][0]);
            store(out + r * kTile + column + kLanes, sum[r][1]);
          }
        }
      }
    }
  }

  template <int kRows = kMaxRows>
  static void tile(const QuantizedTile& t, const InterleavedRows& x, float* out) {
    if (x.count == kRows) {
      rows_of_tile<kRows>(t, x, out);
    } else if constexpr (kRows > 1) {
      tile<kRows - 1>(t, x, out);
    }
  }

  static constexpr QuantizedKernel kernel() {
    return {kMaxRows, kWords, &interleave, &tile<kMaxRows>};
  }
};

}  // namespace
