#include "unmask/kernels/attention.h"

#include <algorithm>
#include <limits>

#include "unmask/base/check.h"
#include "unmask/kernels/attention_passes.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/attention.h"

namespace unmask {
namespace {

void check_shapes(const AttentionInputs& in) {
  const AttentionShape& shape = in.shape;
  UNMASK_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0);
  // A running maximum of scores is one of scaled scores only so.
  UNMASK_CHECK(shape.scale > 0);
  UNMASK_CHECK(in.q.cols == int64_t{shape.heads} * shape.head_dim);
  UNMASK_CHECK(in.k.cols == int64_t{shape.kv_heads} * shape.head_dim);
  UNMASK_CHECK(in.v.cols == in.k.cols && in.v.rows == in.k.rows);
  int64_t query = 0;
  for (const auto& group : in.pattern.groups) {
    UNMASK_CHECK(group.first_span < group.last_span && in.query_begin(group) >= query);
    UNMASK_CHECK(group.key_begin >= 0 && group.key_begin <= group.key_end &&
                 group.key_end <= in.k.rows);
    query = in.query_end(group);
  }
  UNMASK_CHECK(query <= in.q.rows);
}

// fill(begin, end) for the stretches of queries that lie in no group.
template <class F>
void for_each_gap(const AttentionInputs& in, F&& fill) {
  int64_t query = 0;
  for (const auto& group : in.pattern.groups) {
    fill(query, in.query_begin(group));
    query = in.query_end(group);
  }
  fill(query, in.q.rows);
}

void fill_rows(Matrix matrix, int64_t begin, int64_t end, float value) {
  for (int64_t i = begin; i < end; ++i) std::fill_n(matrix.row(i), matrix.cols, value);
}

}  // namespace

void attention_forward(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionPattern& pattern,
                       const AttentionShape& shape, Matrix out, Matrix log_sum_exp,
                       Precision precision) {
  if (use_reference_kernels()) {
    return reference::attention_forward(q, k, v, pattern, shape, out, log_sum_exp, precision);
  }
  const AttentionInputs in{q, k, v, pattern, shape, precision};
  check_shapes(in);
  for_each_gap(in, [&](int64_t begin, int64_t end) {
    fill_rows(out, begin, end, 0.0f);
    if (!log_sum_exp.empty()) {
      fill_rows(log_sum_exp, begin, end, -std::numeric_limits<float>::infinity());
    }
  });
  tiled_attention_forward(in, out, log_sum_exp);
}

void attention_backward(ConstMatrix q, ConstMatrix k, ConstMatrix v, ConstMatrix out,
                        ConstMatrix log_sum_exp, ConstMatrix d_out, const AttentionPattern& pattern,
                        const AttentionShape& shape, Matrix dq, Matrix dk, Matrix dv,
                        Precision precision) {
  if (use_reference_kernels()) {
    return reference::attention_backward(q, k, v, out, log_sum_exp, d_out, pattern, shape, dq, dk,
                                         dv, precision);
  }
  const AttentionInputs in{q, k, v, pattern, shape, precision};
  check_shapes(in);
  for_each_gap(in, [&](int64_t begin, int64_t end) { fill_rows(dq, begin, end, 0.0f); });
  tiled_attention_backward(in, out, log_sum_exp, d_out, dq, dk, dv);
}

}  // namespace unmask
