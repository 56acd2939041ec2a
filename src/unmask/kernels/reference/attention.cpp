#include "unmask/kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "unmask/kernels/reference/rounded.h"

namespace unmask::reference {
namespace {

void set_all(Matrix matrix, float value) {
  for (int64_t i = 0; i < matrix.rows; ++i) std::fill_n(matrix.row(i), matrix.cols, value);
}

double rounded_dot(const float* a, const float* b, int64_t n, Precision precision) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += rounded(a[i], precision) * rounded(b[i], precision);
  return sum;
}

// body(query, keys) for every query of the pattern, keys ascending.
template <class F>
void for_each_query(const AttentionPattern& pattern, F&& body) {
  std::vector<int32_t> keys;
  for (const auto& span : pattern.spans) {
    keys.clear();
    for (int32_t r = span.first_range; r < span.last_range; ++r) {
      for (int32_t key = pattern.ranges[r].begin; key < pattern.ranges[r].end; ++key) {
        keys.push_back(key);
      }
    }
    for (int32_t query = span.query_begin; query < span.query_end; ++query) body(query, keys);
  }
}

}  // namespace

void attention_forward(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionPattern& pattern,
                       const AttentionShape& shape, Matrix out, Matrix log_sum_exp,
                       Precision precision) {
  const int64_t d = shape.head_dim;
  set_all(out, 0);
  set_all(log_sum_exp, -std::numeric_limits<float>::infinity());
  std::vector<double> score, weighted(d);
  for_each_query(pattern, [&](int64_t query, const std::vector<int32_t>& keys) {
    if (keys.empty()) return;
    for (int64_t head = 0; head < shape.heads; ++head) {
      const int64_t column = head * d, kv_column = head / (shape.heads / shape.kv_heads) * d;
      score.clear();
      for (const int32_t key : keys) {
        score.push_back(shape.scale *
                        rounded_dot(q.row(query) + column, k.row(key) + kv_column, d, precision));
      }
      // Weights are relative to the power of two above the largest, so that rounding them to bf16
      // does not depend on which maximum a kernel has seen so far.
      const double largest = *std::max_element(score.begin(), score.end());
      const double offset = std::ceil(largest * std::numbers::log2e) * std::numbers::ln2;
      double sum = 0;
      std::fill(weighted.begin(), weighted.end(), 0.0);
      for (size_t i = 0; i < keys.size(); ++i) {
        const double weight = std::exp(score[i] - offset);
        sum += weight;
        const double factor =
            precision == Precision::bf16 ? rounded(static_cast<float>(weight), precision) : weight;
        const float* value = v.row(keys[i]) + kv_column;
        for (int64_t j = 0; j < d; ++j) weighted[j] += factor * rounded(value[j], precision);
      }
      for (int64_t j = 0; j < d; ++j) {
        out(query, column + j) = static_cast<float>(weighted[j] / sum);
      }
      if (!log_sum_exp.empty()) {
        log_sum_exp(query, head) = static_cast<float>(offset + std::log(sum));
      }
    }
  });
}

void attention_backward(ConstMatrix q, ConstMatrix k, ConstMatrix v, ConstMatrix out,
                        ConstMatrix log_sum_exp, ConstMatrix d_out, const AttentionPattern& pattern,
                        const AttentionShape& shape, Matrix dq, Matrix dk, Matrix dv,
                        Precision precision) {
  const int64_t d = shape.head_dim;
  std::vector<double> dq_sum(dq.rows * dq.cols), dk_sum(dk.rows * dk.cols),
      dv_sum(dv.rows * dv.cols);
  const auto factor = [&](double value) {
    return precision == Precision::bf16 ? rounded(static_cast<float>(value), precision) : value;
  };
  for_each_query(pattern, [&](int64_t query, const std::vector<int32_t>& keys) {
    if (keys.empty()) return;
    for (int64_t head = 0; head < shape.heads; ++head) {
      const int64_t column = head * d, kv_column = head / (shape.heads / shape.kv_heads) * d;
      const float* query_row = q.row(query) + column;
      const float* gradient = d_out.row(query) + column;
      double centre = 0;
      for (int64_t j = 0; j < d; ++j) {
        centre += static_cast<double>(gradient[j]) * out(query, column + j);
      }
      for (const int32_t key : keys) {
        const float* key_row = k.row(key) + kv_column;
        const double score = shape.scale * rounded_dot(query_row, key_row, d, precision);
        const double p = std::exp(score - log_sum_exp(query, head));
        const double dp = rounded_dot(gradient, v.row(key) + kv_column, d, precision);
        const double weight = factor(p), ds = factor(shape.scale * p * (dp - centre));
        for (int64_t j = 0; j < d; ++j) {
          dv_sum[key * dv.cols + kv_column + j] += weight * rounded(gradient[j], precision);
          dk_sum[key * dk.cols + kv_column + j] += ds * rounded(query_row[j], precision);
          dq_sum[query * dq.cols + column + j] += ds * rounded(key_row[j], precision);
        }
      }
    }
  });
  const auto store = [](const std::vector<double>& sum, Matrix target) {
    for (int64_t i = 0; i < target.rows; ++i) {
      for (int64_t j = 0; j < target.cols; ++j) {
        target(i, j) = static_cast<float>(sum[i * target.cols + j]);
      }
    }
  };
  store(dq_sum, dq);
  store(dk_sum, dk);
  store(dv_sum, dv);
}

}  // namespace unmask::reference
