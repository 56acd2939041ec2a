#pragma once

#include <cstdint>
#include <vector>

#include "unmask/base/bf16.h"
#include "unmask/base/check.h"
#include "unmask/base/view.h"
#include "unmask/kernels/precision.h"

namespace unmask {

// Which keys a query may attend to, as structure: a list of spans of queries, each with a few
// ranges of keys. Rows are absolute rows of the batch; queries and keys may be different tables
// (decoding against a cache). Full, document, block-causal and block-diffusion masks are all this.
struct AttentionPattern {
  struct KeyRange {
    int32_t begin = 0, end = 0;
  };
  struct Span {
    int32_t query_begin = 0, query_end = 0;
    int32_t first_range = 0, last_range = 0;  // its ranges: ranges[first_range, last_range)
  };
  // Groups partition the spans; no key is attended from two groups (a group is a sequence, or a
  // document), so that groups may run side by side in the backward pass.
  struct Group {
    int32_t first_span = 0, last_span = 0;
    int32_t key_begin = 0, key_end = 0;  // at least one; covers every range of its spans
  };
  std::vector<Span> spans;       // ascending and disjoint in queries
  std::vector<KeyRange> ranges;  // ascending and disjoint inside a span
  std::vector<Group> groups;

  void clear() {
    spans.clear();
    ranges.clear();
    groups.clear();
  }
};

// q [queries, heads * d], k and v [keys, kv_heads * d] (rows may be strided: parts of one qkv
// table), out [queries, heads * d]. Query head h reads kv head h / (heads / kv_heads). A query
// in no span, or in one without ranges, gives zeros. Rows of a group that are not attended weigh
// exactly 0, so they must be finite.
struct AttentionShape {
  int32_t heads = 1;
  int32_t kv_heads = 1;
  int32_t head_dim = 32;
  float scale = 1.0f;
};

// Keys or values of every kv head, however heads and rows follow each other.
template <class T>
struct HeadTable {
  T* data = nullptr;
  int64_t heads = 0, rows = 0, head_dim = 0;
  int64_t head_stride = 0, row_stride = 0;  // in values
  int64_t packed_rows = 0;                  // those before are packed in their place (below)

  View<T> head(int64_t i) const {
    UNMASK_CHECK(i >= 0 && i < heads);
    return View<T>(data + i * head_stride, rows, head_dim, row_stride);
  }
};

template <class T>
HeadTable<const T> read_only(const HeadTable<T>& t) {
  return {t.data, t.heads, t.rows, t.head_dim, t.head_stride, t.row_stride, t.packed_rows};
}

// Attention packs keys and values for its products, so many at a time, and does it again in every
// call. A cache can have those that will not change packed for good, in the memory of the rows:
// they give the same bits, and are no rows any more. The form is that of the kernels in use, which
// may read so many bytes past the last value.
inline constexpr int64_t kKeysPerRun = 256;
inline constexpr int64_t kReadBehindPacked = 1024;
// Whether it fits there.
bool packs_in_place(int64_t head_dim, Precision precision);
// Of every head, if it fits, the whole runs among the first `rows` that are rows yet; raises
// packed_rows. Rows of a head follow each other.
template <class T>
void pack_in_place(HeadTable<T>& keys, HeadTable<T>& values, int64_t rows, Precision precision);

// out = softmax(scale q kᵀ) v over the keys that the pattern allows (Vaswani et al., arXiv
// 1706.03762), log_sum_exp [queries, heads] = (natural log of the softmax denominator; may be empty
// when nothing will be propagated back): all that is kept for the backward pass besides the inputs.
void attention_forward(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionPattern& pattern,
                       const AttentionShape& shape, Matrix out, Matrix log_sum_exp,
                       Precision precision);

// The same against keys and values that a cache keeps. T is float, or bf16 where the precision is:
// what would have been rounded is.
template <class T>
void attention_forward(ConstMatrix q, const HeadTable<const T>& k, const HeadTable<const T>& v,
                       const AttentionPattern& pattern, const AttentionShape& shape, Matrix out,
                       Precision precision);

// dq =, dk =, dv = (every row, also those without any attention: zero).
void attention_backward(ConstMatrix q, ConstMatrix k, ConstMatrix v, ConstMatrix out,
                        ConstMatrix log_sum_exp, ConstMatrix d_out, const AttentionPattern& pattern,
                        const AttentionShape& shape, Matrix dq, Matrix dk, Matrix dv,
                        Precision precision);

}  // namespace unmask
