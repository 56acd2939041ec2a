// Included inside the namespace of an instruction set, after its lanes (Vec, kLanes): e^x of a
// vector, for softmax, cross-entropy and SiLU.

namespace {

using IntVec = int32_t __attribute__((vector_size(sizeof(Vec))));

// Within 1.5 units in the last place. Overflow gives infinity; results below the smallest normal
// number, and e^-infinity, give 0 (denormals would cost a hundred cycles each); NaN stays NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, and e^r = 1 + r + r^2 P(r), P of degree 4 interpolating at
// Chebyshev nodes: relative error 1.1e-8, a fifth of a rounding.
inline __attribute__((always_inline)) Vec vector_exp(Vec x) {
  constexpr float kSmallest = -87.3365448f;  // ln 2^-126, rounded up
  constexpr float kLargest = 89.0f;          // e^89 overflows, and 2^n stays in range
  constexpr float kLog2E = 0x1.715476p0f;
  constexpr float kLn2High = 0x1.62p-1f;  // few bits, so that n * kLn2High is exact
  constexpr float kLn2Low = 0x1.c85fep-10f;
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits

  // Comparisons are false for NaN, which so passes through.
  const IntVec vanishes = x < kSmallest;
  const Vec bounded = vanishes ? Vec{} + kSmallest : x;
  const Vec clamped = bounded > kLargest ? Vec{} + kLargest : bounded;

  const Vec shifted = clamped * kLog2E + kRound;
  const Vec n = shifted - kRound;
  const Vec r = (clamped - n * kLn2High) - n * kLn2Low;
  const Vec p = 0.5f + r * (0x1.5554dcp-3f +
                            r * (0x1.55551ap-5f + r * (0x1.120ba2p-7f + r * 0x1.6d113cp-10f)));
  const Vec power = 1.0f + (r + r * r * p);

  // In two factors, because 2^128 is no f32.
  const IntVec exponent = (IntVec)shifted - (IntVec)(Vec{} + kRound);
  const IntVec half = exponent >> 1;
  const Vec scaled = power * (Vec)((half + 127) << 23) * (Vec)((exponent - half + 127) << 23);
  return vanishes ? Vec{} : scaled;
}

}  // namespace
