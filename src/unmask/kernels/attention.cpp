#include "unmask/kernels/attention.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "unmask/base/arena.h"
#include "unmask/base/check.h"
#include "unmask/kernels/attention_passes.h"
#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/attention.h"

namespace unmask {
namespace {

template <class T>
void check_shapes(const AttentionInputs<T>& in) {
  const AttentionShape& shape = in.shape;
  UNMASK_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0);
  // A running maximum of scores is one of scaled scores only so.
  UNMASK_CHECK(shape.scale > 0);
  UNMASK_CHECK(in.q.cols == int64_t{shape.heads} * shape.head_dim);
  for (const HeadTable<const T>& table : {in.k, in.v}) {
    UNMASK_CHECK(table.heads == shape.kv_heads && table.head_dim == shape.head_dim);
    UNMASK_CHECK(table.rows == in.k.rows);
    UNMASK_CHECK(table.packed_rows == in.k.packed_rows && table.packed_rows % kKeysPerRun == 0);
    UNMASK_CHECK(table.packed_rows == 0 || (table.row_stride == table.head_dim &&
                                            int64_t{sizeof(T)} == value_bytes(in.precision)));
  }
  int64_t query = 0;
  for (const auto& group : in.pattern.groups) {
    UNMASK_CHECK(group.first_span < group.last_span && in.query_begin(group) >= query);
    UNMASK_CHECK(group.key_begin >= 0 && group.key_begin < group.key_end &&
                 group.key_end <= in.k.rows);
    UNMASK_CHECK(in.k.packed_rows == 0 || group.key_begin % kKeysPerRun == 0);
    query = in.query_end(group);
  }
  UNMASK_CHECK(query <= in.q.rows);
}

// fill(begin, end) for the stretches of queries that lie in no group.
template <class T, class F>
void for_each_gap(const AttentionInputs<T>& in, F&& fill) {
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

// The heads of a table [rows, kv_heads * d].
HeadTable<const float> heads_of(ConstMatrix table, const AttentionShape& shape) {
  UNMASK_CHECK(table.cols == int64_t{shape.kv_heads} * shape.head_dim);
  return {table.data, shape.kv_heads, table.rows, shape.head_dim, shape.head_dim, table.stride};
}

// The table of these heads, from the calling thread's scratch.
template <class T>
Matrix table_of(const HeadTable<const T>& heads) {
  UNMASK_CHECK(heads.packed_rows == 0);
  const Matrix table = thread_scratch().matrix(heads.rows, heads.heads * heads.head_dim);
  for (int64_t h = 0; h < heads.heads; ++h) {
    convert(heads.head(h), table.col_range(h * heads.head_dim, heads.head_dim));
  }
  return table;
}

template <class T>
void attend(const AttentionInputs<T>& in, Matrix out, Matrix log_sum_exp) {
  check_shapes(in);
  for_each_gap(in, [&](int64_t begin, int64_t end) {
    fill_rows(out, begin, end, 0.0f);
    if (!log_sum_exp.empty()) {
      fill_rows(log_sum_exp, begin, end, -std::numeric_limits<float>::infinity());
    }
  });
  tiled_attention_forward(in, out, log_sum_exp);
}

}  // namespace

void attention_forward(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionPattern& pattern,
                       const AttentionShape& shape, Matrix out, Matrix log_sum_exp,
                       Precision precision) {
  if (use_reference_kernels()) {
    return reference::attention_forward(q, k, v, pattern, shape, out, log_sum_exp, precision);
  }
  attend<float>({q, heads_of(k, shape), heads_of(v, shape), pattern, shape, precision}, out,
                log_sum_exp);
}

template <class T>
void attention_forward(ConstMatrix q, const HeadTable<const T>& k, const HeadTable<const T>& v,
                       const AttentionPattern& pattern, const AttentionShape& shape, Matrix out,
                       Precision precision) {
  UNMASK_CHECK((std::is_same_v<T, float>) || precision == Precision::bf16);
  if (use_reference_kernels()) {
    const ArenaScope scope(thread_scratch());
    return reference::attention_forward(q, table_of(k), table_of(v), pattern, shape, out, {},
                                        precision);
  }
  attend<T>({q, k, v, pattern, shape, precision}, out, {});
}

template void attention_forward(ConstMatrix, const HeadTable<const float>&,
                                const HeadTable<const float>&, const AttentionPattern&,
                                const AttentionShape&, Matrix, Precision);
template void attention_forward(ConstMatrix, const HeadTable<const bf16>&,
                                const HeadTable<const bf16>&, const AttentionPattern&,
                                const AttentionShape&, Matrix, Precision);

void attention_backward(ConstMatrix q, ConstMatrix k, ConstMatrix v, ConstMatrix out,
                        ConstMatrix log_sum_exp, ConstMatrix d_out, const AttentionPattern& pattern,
                        const AttentionShape& shape, Matrix dq, Matrix dk, Matrix dv,
                        Precision precision) {
  if (use_reference_kernels()) {
    return reference::attention_backward(q, k, v, out, log_sum_exp, d_out, pattern, shape, dq, dk,
                                         dv, precision);
  }
  const AttentionInputs<float> in{q,     heads_of(k, shape), heads_of(v, shape), pattern,
                                  shape, precision};
  check_shapes(in);
  for_each_gap(in, [&](int64_t begin, int64_t end) { fill_rows(dq, begin, end, 0.0f); });
  tiled_attention_backward(in, out, log_sum_exp, d_out, dq, dk, dv);
}

}  // namespace unmask
