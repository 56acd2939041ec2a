#pragma once

// What numeric tests share; include it, there is nothing to link.
//
//   TestMatrix x = random_matrix(rows, cols, seed);            // standard normal, dense
//   TestMatrix y = random_matrix(rows, cols, seed, 1, cols + 5);  // rows 5 elements apart
//   kernel(x.view(), y.view());                                // converts to Matrix by itself too
//   EXPECT_TRUE(near(y, expected, f32_tolerance(cols)));       // relative to the largest element
//   EXPECT_TRUE(y.padding_intact());                           // nothing written between the rows
//   EXPECT_TRUE(gradient_matches(x, dx, [&] {                  // dx against finite differences of
//     kernel(x, y);                                            // the loss sum(w * y)
//     return weighted_loss(w, y);
//   }));

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/parallel.h"
#include "unmask/base/random.h"
#include "unmask/base/view.h"

namespace unmask {

// A matrix that owns its memory; what lies between the rows holds a mark that no kernel may touch.
class TestMatrix {
 public:
  TestMatrix(int64_t rows, int64_t cols, int64_t stride = 0)
      : rows_(rows), cols_(cols), stride_(std::max(cols, stride)), data_(rows_ * stride_, kMark) {
    for (int64_t i = 0; i < rows_; ++i) std::fill_n(view().row(i), cols_, 0.0f);
  }

  Matrix view() { return Matrix(data_.data(), rows_, cols_, stride_); }
  ConstMatrix view() const { return ConstMatrix(data_.data(), rows_, cols_, stride_); }
  operator Matrix() { return view(); }
  operator ConstMatrix() const { return view(); }
  float& operator()(int64_t i, int64_t j) { return data_[i * stride_ + j]; }
  float operator()(int64_t i, int64_t j) const { return data_[i * stride_ + j]; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

  // All elements as one vector; dense matrices only.
  std::span<float> flat() {
    UNMASK_CHECK(stride_ == cols_);
    return data_;
  }

  bool padding_intact() const {
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t j = cols_; j < stride_; ++j) {
        if (data_[i * stride_ + j] != kMark) return false;
      }
    }
    return true;
  }

  bool operator==(const TestMatrix& other) const = default;

 private:
  static constexpr float kMark = -54321.0f;
  int64_t rows_, cols_, stride_;
  std::vector<float> data_;
};

// scale * standard normal; the same for the same seed.
inline TestMatrix random_matrix(int64_t rows, int64_t cols, uint64_t seed, float scale = 1.0f,
                                int64_t stride = 0) {
  TestMatrix matrix(rows, cols, stride);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      matrix(i, j) =
          scale * random_normal({seed, Purpose::synthetic}, static_cast<uint64_t>(i * cols + j));
    }
  }
  return matrix;
}

// `count` values of [0, limit), by seed.
inline std::vector<int32_t> random_ids(int64_t count, int32_t limit, uint64_t seed) {
  std::vector<int32_t> ids(count);
  for (int64_t i = 0; i < count; ++i) {
    ids[i] = static_cast<int32_t>(random_below({seed, Purpose::synthetic}, limit, i));
  }
  return ids;
}

// Unit roundoff of f32 and of bf16.
inline constexpr double kEpsilonF32 = 0x1p-24;
inline constexpr double kEpsilonBf16 = 0x1p-9;

// What may separate a sum of `terms` products from the exact one, relative to the largest element
// of the result: every operation rounds by at most epsilon, roundings of random sign add up as the
// square root of their number, and four deviations cover the worst of many elements.
inline double f32_tolerance(int64_t terms) {
  return 4 * kEpsilonF32 * (1 + std::sqrt(static_cast<double>(terms)));
}
// Both factors of each product are rounded to bf16 (independent roundings of up to epsilon: their
// effect on a sum is epsilon times its root mean square size, whatever the number of terms).
inline double bf16_tolerance(int64_t terms) { return 8 * kEpsilonBf16 + f32_tolerance(terms); }

inline double max_abs(ConstMatrix x) {
  double largest = 0;
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) largest = std::max<double>(largest, std::abs(x(i, j)));
  }
  return largest;
}

// max |actual - expected| / max |expected|; infinite when either holds a NaN where the other has
// none.
inline double max_relative_error(ConstMatrix actual, ConstMatrix expected) {
  double worst = 0;
  for (int64_t i = 0; i < expected.rows; ++i) {
    for (int64_t j = 0; j < expected.cols; ++j) {
      const double a = actual(i, j), e = expected(i, j);
      if (std::isnan(a) != std::isnan(e)) return std::numeric_limits<double>::infinity();
      if (a != e && !std::isnan(a)) worst = std::max(worst, std::abs(a - e));
    }
  }
  return worst == 0 ? 0 : worst / std::max(max_abs(expected), 1e-30);
}

inline testing::AssertionResult near(ConstMatrix actual, ConstMatrix expected, double tolerance) {
  if (actual.rows != expected.rows || actual.cols != expected.cols) {
    return testing::AssertionFailure()
           << "[" << actual.rows << ", " << actual.cols << "] where [" << expected.rows << ", "
           << expected.cols << "] was expected";
  }
  const double error = max_relative_error(actual, expected);
  if (error <= tolerance) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "relative error " << error << ", tolerance " << tolerance;
}

inline testing::AssertionResult near(std::span<const float> actual, std::span<const float> expected,
                                     double tolerance) {
  return near(ConstMatrix(actual.data(), 1, std::ssize(actual)),
              ConstMatrix(expected.data(), 1, std::ssize(expected)), tolerance);
}

// A scalar to differentiate, and the size of what was added up to it, from which its rounding
// error is estimated.
struct Loss {
  double value = 0;
  double squares = 0;  // sum of the squares of the terms
  Loss operator+(Loss other) const { return {value + other.value, squares + other.squares}; }
};

// sum(w * y): its gradient with respect to y is w.
inline Loss weighted_loss(ConstMatrix w, ConstMatrix y) {
  Loss loss;
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) {
      const double term = static_cast<double>(w(i, j)) * y(i, j);
      loss.value += term;
      loss.squares += term * term;
    }
  }
  return loss;
}

struct FiniteDifference {
  double step = 0.05;        // of a standard normal input
  double truncation = 1e-3;  // permitted, relative to the largest gradient (the rest is step^4)
  double rounding = 8;       // roundings behind one output element, in epsilon
  int64_t samples = 64;      // elements tried, spread over the whole matrix
};

// Compares `gradient` with fourth-order central differences of `loss` with respect to x, which
// `loss` reads anew in every call:  (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h.
inline testing::AssertionResult gradient_matches(Matrix x, ConstMatrix gradient,
                                                 const std::function<Loss()>& loss,
                                                 FiniteDifference options = {}) {
  const Loss base = loss();
  const double h = options.step;
  const double tolerance = options.truncation * max_abs(gradient) +
                           options.rounding * kEpsilonF32 * std::sqrt(base.squares) / h;
  if (!(tolerance < 0.05 * max_abs(gradient) || max_abs(gradient) == 0)) {
    return testing::AssertionFailure() << "finite differences tell nothing: tolerance " << tolerance
                                       << ", largest gradient " << max_abs(gradient);
  }
  const int64_t count = std::min(x.size(), options.samples);
  for (int64_t s = 0; s < count; ++s) {
    const int64_t flat = s * x.size() / count;
    const int64_t i = flat / x.cols, j = flat % x.cols;
    const float center = x(i, j);
    // The points as f32 really has them.
    const auto difference = [&](double distance, double& width) {
      const float above = static_cast<float>(center + distance);
      const float below = static_cast<float>(center - distance);
      x(i, j) = above;
      const double f_above = loss().value;
      x(i, j) = below;
      const double f_below = loss().value;
      x(i, j) = center;
      width = static_cast<double>(above) - below;
      return f_above - f_below;
    };
    double width1 = 0, width2 = 0;
    const double near_slope = difference(h, width1) / width1;
    const double far_slope = difference(2 * h, width2) / width2;
    const double expected = (4 * near_slope - far_slope) / 3;
    if (!(std::abs(gradient(i, j) - expected) <= tolerance)) {
      return testing::AssertionFailure()
             << "gradient(" << i << ", " << j << ") is " << gradient(i, j)
             << ", finite differences give " << expected << " within " << tolerance;
    }
  }
  return testing::AssertionSuccess();
}

// Runs the rest of the scope with this number of threads.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(thread_count()) { set_thread_count(threads); }
  ~ThreadCount() { set_thread_count(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace unmask
