#pragma once

#include <cstdint>

#include "unmask/kernels/attention.h"

// The tiled kernels behind kernels/attention.h; they write the rows that the pattern names and no
// others.
namespace unmask {

template <class T>
struct AttentionInputs {
  ConstMatrix q;
  HeadTable<const T> k, v;
  const AttentionPattern& pattern;
  AttentionShape shape;
  Precision precision;

  int64_t heads_per_kv_head() const { return shape.heads / shape.kv_heads; }
  View<const T> head(const HeadTable<const T>& table, int64_t head, int64_t begin,
                     int64_t end) const {
    return table.head(head).row_range(begin, end - begin);
  }
  ConstMatrix head(ConstMatrix table, int64_t head, int64_t begin, int64_t end) const {
    return table.col_range(head * shape.head_dim, shape.head_dim).row_range(begin, end - begin);
  }
  Matrix head(Matrix table, int64_t head, int64_t begin, int64_t end) const {
    return table.col_range(head * shape.head_dim, shape.head_dim).row_range(begin, end - begin);
  }
  int64_t query_begin(const AttentionPattern::Group& group) const {
    return pattern.spans[group.first_span].query_begin;
  }
  int64_t query_end(const AttentionPattern::Group& group) const {
    return pattern.spans[group.last_span - 1].query_end;
  }
};

// T is float or bf16.
template <class T>
void tiled_attention_forward(const AttentionInputs<T>& in, Matrix out, Matrix log_sum_exp);

void tiled_attention_backward(const AttentionInputs<float>& in, ConstMatrix out,
                              ConstMatrix log_sum_exp, ConstMatrix d_out, Matrix dq, Matrix dk,
                              Matrix dv);

}  // namespace unmask
