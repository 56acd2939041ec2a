#include "unmask/kernels/softmax.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <immintrin.h>
#include <limits>

#include "unmask/base/bf16.h"
#include "unmask/base/check.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/softmax.h"

namespace unmask {
// Rows of a router have a few hundred elements: the baseline's lanes are enough.
namespace baseline {
// clang-format off
#include "unmask/kernels/isa/lanes8.inl.h"
#include "unmask/kernels/isa/vector_exp.inl.h"
// clang-format on
}  // namespace baseline

float softmax_row(std::span<const float> logits, std::span<float> p) {
  using namespace baseline;
  const int64_t n = std::ssize(logits);
  UNMASK_CHECK(n > 0 && p.size() == logits.size());
  if (use_reference_kernels()) return reference::softmax_row(logits, p);
  const int64_t whole = n - n % kLanes;
  Vec running = broadcast(logits[0]);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vec z = load(logits.data() + i);
    running = z > running ? z : running;
  }
  float largest = logits[0];
  for (int lane = 0; lane < kLanes; ++lane) largest = std::max(largest, running[lane]);
  for (int64_t i = whole; i < n; ++i) largest = std::max(largest, logits[i]);

  Vec partial = zero();
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vec e = vector_exp(load(logits.data() + i) - largest);
    store(p.data() + i, e);
    partial += e;
  }
  double sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += static_cast<double>(partial[lane]);
  if (whole < n) {
    const Vec e = vector_exp(load_partial(logits.data() + whole, n - whole) - largest);
    store_partial(p.data() + whole, e, n - whole);
    for (int64_t lane = 0; lane < n - whole; ++lane) sum += static_cast<double>(e[lane]);
  }

  const auto scale = static_cast<float>(1.0 / sum);
  for (int64_t i = 0; i < n; ++i) p[i] *= scale;
  return static_cast<float>(std::log(sum) + static_cast<double>(largest));
}

Largest largest_of(std::span<const float> logits) {
  using namespace baseline;
  if (use_reference_kernels()) return reference::largest_of(logits);
  const int64_t n = std::ssize(logits), whole = n - n % (4 * kLanes);
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  Vec running[4];
  for (Vec& r : running) r = broadcast(kNone);
  for (int64_t i = 0; i < whole; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      const Vec z = load(logits.data() + i + part * kLanes);
      running[part] = z > running[part] ? z : running[part];
    }
  }
  Largest largest = {kNone, 0};
  for (const Vec& r : running) {
    for (int lane = 0; lane < kLanes; ++lane) largest.value = std::max(largest.value, r[lane]);
  }
  for (int64_t i = whole; i < n; ++i) {
    if (logits[i] > largest.value) largest.value = logits[i];
  }
  if (largest.value == kNone) return largest;
  const Vec wanted = broadcast(largest.value);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const int found = _mm256_movemask_ps(load(logits.data() + i) == wanted);
    if (found != 0) return {largest.value, i + std::countr_zero(static_cast<unsigned>(found))};
  }
  largest.index = std::find(logits.begin() + whole, logits.end(), largest.value) - logits.begin();
  return largest;
}

ExpSums exp_sums(std::span<const float> logits, float offset, float scale) {
  using namespace baseline;
  if (use_reference_kernels()) return reference::exp_sums(logits, offset, scale);
  const int64_t n = std::ssize(logits), whole = n - n % kLanes;
  using Doubles = double __attribute__((vector_size(2 * sizeof(Vec))));
  Doubles sum = {}, weighted = {};
  const auto add = [&](Vec z, int64_t count) {
    const Vec x = (z - offset) * scale;
    const Vec e = vector_exp(x);
    // Where it vanishes x may be -infinity.
    const Vec ex = e == 0.0f ? Vec{} : e * x;
    Vec counted = e, weight = ex;
    for (int64_t lane = count; lane < kLanes; ++lane) counted[lane] = weight[lane] = 0;
    sum += __builtin_convertvector(counted, Doubles);
    weighted += __builtin_convertvector(weight, Doubles);
  };
  for (int64_t i = 0; i < whole; i += kLanes) add(load(logits.data() + i), kLanes);
  if (whole < n) add(load_partial(logits.data() + whole, n - whole), n - whole);
  ExpSums sums;
  for (int lane = 0; lane < kLanes; ++lane) {
    sums.sum += sum[lane];
    sums.weighted += weighted[lane];
  }
  return sums;
}

void sigmoid_row(std::span<const float> x, std::span<float> y) {
  using namespace baseline;
  const int64_t n = std::ssize(x);
  UNMASK_CHECK(y.size() == x.size());
  if (use_reference_kernels()) return reference::sigmoid_row(x, y);
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    store(y.data() + i, 1.0f / (1.0f + vector_exp(-load(x.data() + i))));
  }
  if (whole < n) {
    const Vec rest = load_partial(x.data() + whole, n - whole);
    store_partial(y.data() + whole, 1.0f / (1.0f + vector_exp(-rest)), n - whole);
  }
}

float dot_row(std::span<const float> a, std::span<const float> b) {
  using namespace baseline;
  const int64_t n = std::ssize(a), whole = n - n % kLanes;
  UNMASK_CHECK(a.size() == b.size());
  if (use_reference_kernels()) return reference::dot_row(a, b);
  Vec partial = zero();
  for (int64_t i = 0; i < whole; i += kLanes) partial += load(a.data() + i) * load(b.data() + i);
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += partial[lane];
  for (int64_t i = whole; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace unmask
