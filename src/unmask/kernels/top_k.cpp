#include "unmask/kernels/top_k.h"

#include <algorithm>
#include <immintrin.h>

#include "unmask/base/arena.h"
#include "unmask/base/check.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/top_k.h"

namespace unmask {
namespace {

// Halving the distance between floats finds the threshold in a few steps when the values are of
// one size; after these the distance between keys is halved, which needs 32 at most for any.
constexpr int kFloatSteps = 12;

float float_of(int32_t key) { return std::bit_cast<float>(key ^ ((key >> 31) & INT32_MAX)); }

int64_t count_above(const int32_t* keys, int64_t padded, int32_t threshold) {
  const __m256i limit = _mm256_set1_epi32(threshold);
  __m256i first = _mm256_setzero_si256(), second = _mm256_setzero_si256();
  for (int64_t i = 0; i < padded; i += 16) {
    const auto* p = reinterpret_cast<const __m256i*>(keys + i);
    first = _mm256_sub_epi32(first, _mm256_cmpgt_epi32(_mm256_loadu_si256(p), limit));
    second = _mm256_sub_epi32(second, _mm256_cmpgt_epi32(_mm256_loadu_si256(p + 1), limit));
  }
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi32(first, second));
  int64_t count = 0;
  for (const int32_t lane : lanes) count += lane;
  return count;
}

struct Range {
  int32_t least, most;
};

Range range_of(const int32_t* keys, int64_t n) {
  Range range = {keys[0], keys[0]};
  for (int64_t i = 1; i < n; ++i) {
    range.least = std::min(range.least, keys[i]);
    range.most = std::max(range.most, keys[i]);
  }
  return range;
}

// All keys above `threshold`, and the first `ties` that equal it.
struct Cut {
  int32_t threshold;
  int64_t ties;
};

int32_t between(int32_t low, int32_t high, int step) {
  if (step < kFloatSteps) {
    const float middle = 0.5f * float_of(low) + 0.5f * float_of(high);
    const int32_t key = order_key(middle);
    if (key > low && key < high) return key;
  }
  return static_cast<int32_t>(low + (static_cast<int64_t>(high) - low) / 2);
}

// At least k keys are above `low` and fewer than k above `high`, until either a threshold with
// exactly k above it turns up or the two are neighbours, and `high` is the k-th largest key.
Cut find_cut(const int32_t* keys, int64_t n, int64_t k) {
  const int64_t padded = padded_keys(n);
  const Range range = range_of(keys, n);
  int32_t low = range.least - 1, high = range.most;
  int64_t above_high = 0;
  for (int step = 0; static_cast<int64_t>(high) - low > 1; ++step) {
    const int32_t middle = between(low, high, step);
    const int64_t above = count_above(keys, padded, middle);
    if (above == k) return {middle, 0};
    if (above > k) {
      low = middle;
    } else {
      high = middle;
      above_high = above;
    }
  }
  return {high, k - above_high};
}

void gather_positions(const int32_t* keys, int64_t n, Cut cut, std::span<int32_t> chosen) {
  const __m256i limit = _mm256_set1_epi32(cut.ties > 0 ? cut.threshold - 1 : cut.threshold);
  int64_t found = 0, ties = cut.ties;
  for (int64_t i = 0; i < padded_keys(n); i += 8) {
    const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + i));
    auto hits = static_cast<uint32_t>(
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(block, limit))));
    for (; hits != 0; hits &= hits - 1) {
      const auto position = static_cast<int32_t>(i) + std::countr_zero(hits);
      if (keys[position] == cut.threshold && ties-- <= 0) continue;
      chosen[found++] = position;
    }
  }
  UNMASK_CHECK(found == std::ssize(chosen));
}

}  // namespace

void top_k_keys(std::span<int32_t> keys, int64_t n, std::span<int32_t> chosen) {
  const int64_t k = std::ssize(chosen);
  UNMASK_CHECK(k <= n && std::ssize(keys) >= padded_keys(n));
  if (use_reference_kernels()) return reference::top_k_keys(keys.first(n), chosen);
  if (k == n) {
    for (int64_t i = 0; i < n; ++i) chosen[i] = static_cast<int32_t>(i);
    return;
  }
  if (k == 0) return;
  std::fill(keys.begin() + n, keys.begin() + padded_keys(n), kNoKey);
  gather_positions(keys.data(), n, find_cut(keys.data(), n, k), chosen);
}

void top_k(std::span<const float> values, std::span<int32_t> chosen) {
  const int64_t n = std::ssize(values);
  ArenaScope scope(thread_scratch());
  const std::span<int32_t> keys(thread_scratch().take<int32_t>(padded_keys(n)),
                                static_cast<size_t>(padded_keys(n)));
  for (int64_t i = 0; i < n; ++i) keys[i] = order_key(values[i]);
  top_k_keys(keys, n, chosen);
}

}  // namespace unmask
