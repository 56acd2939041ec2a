// Included inside the namespace of an instruction set, after bits.inl.h and pairs.inl.h: the
// functions of activation_kernel.h.

namespace {

// The bits of the largest |x|; those of an infinity or a NaN if there is one. n is a multiple of
// 32.
uint32_t largest_bits(const float* x, int64_t n) {
  constexpr int kAtOnce = 32 / kLanes;
  Bits largest[kAtOnce];
  for (int i = 0; i < kAtOnce; ++i) largest[i] = word(0);
  for (int64_t k = 0; k < n; k += 32) {
    for (int i = 0; i < kAtOnce; ++i) {
      largest[i] = max_unsigned(largest[i], masked<0x7fffffff>(load_bits(x + k + i * kLanes)));
    }
  }
  for (int i = 1; i < kAtOnce; ++i) largest[0] = max_unsigned(largest[0], largest[i]);
  uint32_t lanes[kLanes];
  store_bits(lanes, largest[0]);
  uint32_t all = 0;
  for (int i = 0; i < kLanes; ++i) all = lanes[i] > all ? lanes[i] : all;
  return all;
}

// The levels of as many values as four vectors hold.
template <class Get>
inline Bits levels_of(Get get, Vec inverse) {
  Bits level[4];
  for (int i = 0; i < 4; ++i) level[i] = to_nearest(get(i * kLanes) * inverse);
  return pack_bytes(level);
}

// The sum of signed bytes, word by word.
inline Bits sum_of_bytes(Bits bytes) {
  return multiply_pairs(byte_pairs(word(0x01010101), bytes), word(0x00010001));
}

// Returns the sum of the levels.
int32_t group_to_levels(int64_t n, const float* x, float inverse_scale, uint32_t* words) {
  constexpr int64_t kStep = 4 * kLanes;
  const Vec inverse = broadcast(inverse_scale);
  Bits sums = word(0);
  int64_t k = 0;
  for (; k + kStep <= n; k += kStep, words += kLanes) {
    const Bits bytes = levels_of([&](int64_t i) { return load(x + k + i); }, inverse);
    store_bits(words, bytes);
    sums = add_32(sums, sum_of_bytes(bytes));
  }
  if (const int64_t live = n - k; live > 0) {  // 32 of 64
    const Bits bytes =
        levels_of([&](int64_t i) { return i < live ? load(x + k + i) : zero(); }, inverse);
    store_partial(reinterpret_cast<float*>(words), as_floats(bytes), live / 4);
    sums = add_32(sums, sum_of_bytes(bytes));
  }
  return sum_of_words(sums);
}

float to_levels(int64_t groups, int64_t group, int32_t bias, const float* x, uint32_t* words,
                int32_t* start) {
  constexpr uint32_t kInfinity = 0x7f800000;
  const uint32_t bits = largest_bits(x, groups * group);
  const float largest = __builtin_bit_cast(float, bits);
  // Below the smallest normal scale the inverse would overflow: such a row is zeros.
  const bool finite = bits < kInfinity, zeros = largest < 127 * 0x1p-126f;
  const float inverse = zeros || !finite ? 0.0f : 127.0f / largest;
  for (int64_t g = 0; g < groups; ++g, x += group, words += group / 4) {
    start[g] = -bias * group_to_levels(group, x, inverse, words);
  }
  return !finite ? __builtin_nanf("") : zeros ? 0.0f : largest / 127.0f;
}

void to_pairs(int64_t words, const float* x, uint32_t* to) {
  float* const pairs = reinterpret_cast<float*>(to);
  int64_t w = 0;
  for (; w + kLanes <= words; w += kLanes, x += 2 * kLanes) {
    store(pairs + w, SpelledOutPairs::along(load(x), load(x + kLanes)));
  }
  if (const int64_t live = words - w; live > 0) {
    float rest[2 * kLanes] = {};
    for (int64_t i = 0; i < 2 * live; ++i) rest[i] = x[i];
    store_partial(pairs + w, SpelledOutPairs::along(load(rest), load(rest + kLanes)), live);
  }
}

}  // namespace
