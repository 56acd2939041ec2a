// Included inside the namespace of an instruction set, after unrolled.inl.h and word_dots.inl.h:
// products with a packed tile of quantized weights (quantized_kernel.h).

namespace {

// Where memory that is fetched ahead is put: what is read once and soon, and what is read later or
// in several turns.
struct IntoSecondLevel {
  static constexpr _mm_hint kOnce = _MM_HINT_T1, kLater = _MM_HINT_T1;
};
// On AMD what passes by the outer caches comes sooner (Zen 5: 0.93 to 0.96 of the time where memory
// bounds it), and prefetches into the first level end sooner (0.90 to 0.93). On Intel the first
// takes 2.2 to 2.5 times as long (Granite Rapids), the second 1.0 to 1.08 times. Not for narrow
// vectors, which read a group in two turns: past the caches up to 1.25 times (AVX2, Zen 5).
struct PastOuterCaches {
  static constexpr _mm_hint kOnce = _MM_HINT_NTA, kLater = _MM_HINT_T0;
};

// Memory that is fetched ahead, a little in every step, from pages that are found already
// (prefetch.h).
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
  // Asks for the next so many bytes.
  template <_mm_hint kInto>
  void bring(int64_t bytes) {
    const char* const from = take(bytes);
    for (int64_t i = 0; i < bytes; i += kLine) _mm_prefetch(from + i, kInto);
  }
  // Where the next so many bytes begin.
  const char* take(int64_t bytes) {
    if (left_ <= 0) switch_to_next();
    const char* const from = at_;
    at_ += bytes;
    left_ -= bytes;
    return from;
  }

 private:
  static constexpr int64_t kAhead = 8192, kLine = 64;

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

template <class Dot, class Parts, int kMaxRows, class Into = IntoSecondLevel>
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

  // One block of rows times a tile, which is gone through once for each block.
  template <int kRows, bool kOnce>
  struct Rows {
    // Vectors of outputs at a time: narrow ones take two turns at a group, unless rows are so few
    // that the sums of all outputs fit the registers.
    static constexpr int kVectors = kLanes == 8 && kRows <= 2 ? 4 : 2;
    static constexpr int kTurns = kTile / (kVectors * kLanes);
    // Few rows have a second set of (exact) sums, for the odd words: a dot instruction takes four
    // cycles, of which two begin in each.
    static constexpr int kSets = kIntegers && kTurns == 1 && kRows <= 4 ? 2 : 1;
    static constexpr int kStepsAtOnce = kSets > Parts::kParts ? kSets / Parts::kParts : 1;

    using Sum = typename Dot::Sum;
    using Sums = Sum[kSets][kRows][kVectors];
    using Totals = Vec[kRows][kVectors];

    template <class Body>
    UNMASK_INLINE static void for_all(Body body) {
      unrolled<kRows>([&](auto r) UNMASK_INLINE {
        unrolled<kVectors>([&](auto v) UNMASK_INLINE { body(r, v); });
      });
    }

    // Sums of a group of integers begin with what their row asks for, those of floats go on.
    UNMASK_INLINE static void begin(Sums& sums, const Totals& total, const int32_t* start) {
      for_all([&](auto r, auto v) UNMASK_INLINE {
        if constexpr (kIntegers) {
          sums[0][r][v] = start_of(start + r);
          if constexpr (kSets == 2) sums[1][r][v] = word(0);
        } else {
          sums[0][r][v] = total[r][v];
        }
      });
    }

    // sum[r][v] += row r of x times vector v of the weights, for one step.
    UNMASK_INLINE static void add_step(Sum (&sum)[kRows][kVectors], const Bits (&weights)[kVectors],
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

    UNMASK_INLINE static void prefetch(const char* far, int64_t stride) {
      if constexpr (kOnce && kTurns == 1) {  // two lines a step
        _mm_prefetch(far, Into::kOnce);
        _mm_prefetch(far + stride / 2, Into::kOnce);
      } else {
        _mm_prefetch(far, Into::kLater);
      }
    }

    UNMASK_INLINE static void add_steps(Sums& sums, int64_t steps, const std::byte*& w,
                                        const uint32_t*& words, const char* far, int64_t stride) {
      for (int64_t s = 0; s < steps; s += kStepsAtOnce) {
#pragma GCC unroll 2
        for (int i = 0; i < kStepsAtOnce; ++i, w += kStepBytes, far += stride) {
          prefetch(far, stride);
          Bits weights[kVectors];
          for (int v = 0; v < kVectors; ++v) weights[v] = held(load_bits(w + 4 * kLanes * v));
#pragma GCC unroll 2
          for (int part = 0; part < Parts::kParts; ++part, words += kWords * kRows) {
            add_step(sums[(i * Parts::kParts + part) % kSets], weights, part, words);
          }
        }
      }
    }

    // total += the sums, of integers times the scales of their outputs.
    UNMASK_INLINE static void end(const Sums& sums, [[maybe_unused]] const bf16* scales,
                                  [[maybe_unused]] int64_t column, Totals& total) {
      unrolled<kVectors>([&](auto v) UNMASK_INLINE {
        if constexpr (kIntegers) {
          const Vec scale = load_scales(scales + column + v * kLanes);
          unrolled<kRows>([&](auto r) UNMASK_INLINE {
            Bits sum = sums[0][r][v];
            if constexpr (kSets == 2) sum = add_32(sum, sums[1][r][v]);
            total[r][v] = total[r][v] + to_floats(sum) * scale;
          });
        } else {
          unrolled<kRows>([&](auto r) UNMASK_INLINE { total[r][v] = sums[0][r][v]; });
        }
      });
    }

    // out [kRows][32]
    static void multiply(const QuantizedTile& t, const InterleavedRows& x, Fetch& fetch,
                         float* out) {
      const int64_t stride = fetch.stride(kTurns);
      const std::byte* group = t.weights;
      const uint32_t* words = x.words;
      [[maybe_unused]] const int32_t* start = x.start;
      [[maybe_unused]] const bf16* scales = t.scales;
      Totals total[kTurns];
#pragma GCC unroll 2
      for (int turn = 0; turn < kTurns; ++turn) {
        for_all([&](auto r, auto v) UNMASK_INLINE { total[turn][r][v] = zero(); });
      }

      // Of floats the steps that are left, of integers the groups.
      for (int64_t left = kIntegers ? t.groups : t.steps; left > 0;
           left -= kIntegers ? 1 : kChunk) {
        const int64_t steps = kIntegers ? t.steps : left < kChunk ? left : kChunk;
        const uint32_t* row_words = words;
#pragma GCC unroll 2
        for (int turn = 0; turn < kTurns; ++turn) {
          const int64_t column = turn * kVectors * kLanes;
          const std::byte* w = group + column * 4;
          row_words = words;
          Sums sums;
          begin(sums, total[turn], start);
          add_steps(sums, steps, w, row_words, fetch.take(steps * stride), stride);
          end(sums, scales, column, total[turn]);
        }
        group += steps * kStepBytes;
        words = row_words;
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
  };

  template <bool kOnce, int kRows = kMaxRows>
  static void multiply(const QuantizedTile& t, const InterleavedRows& x, Fetch& fetch, float* out) {
    if (x.count == kRows) {
      Rows<kRows, kOnce>::multiply(t, x, fetch, out);
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
