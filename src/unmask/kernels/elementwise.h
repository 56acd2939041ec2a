#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/bf16.h"
#include "unmask/base/view.h"

namespace unmask {

// out[i] = table[ids[i]].  table [vocab, hidden], out [n, hidden].
void embedding_forward(ConstMatrix table, std::span<const int32_t> ids, Matrix out);
void embedding_forward(View<const bf16> table, std::span<const int32_t> ids, Matrix out);
// dtable[ids[i]] += dout[i], in the order of i for any number of threads.
void embedding_backward(std::span<const int32_t> ids, ConstMatrix dout, Matrix dtable);

// y += x, and y = x (strided rows).
void add(ConstMatrix x, Matrix y);
void copy(ConstMatrix x, Matrix y);
void fill(float value, Matrix y);

// to = from between f32 and bf16, on the calling thread.
template <class From, class To>
void convert(View<const From> from, View<To> to) {
  for (int64_t i = 0; i < from.rows; ++i) {
    for (int64_t j = 0; j < from.cols; ++j) to(i, j) = static_cast<To>(from(i, j));
  }
}

// rounded[i] = x[i] to the nearest bf16; `rounded` begins with a cache line.
void copy_as_bf16(std::span<const float> x, std::span<bf16> rounded);

// bias [1, cols]: y += bias in every row; dbias += column sums of dy.
void add_bias(ConstMatrix bias, Matrix y);
void bias_backward(ConstMatrix dy, Matrix dbias);

// out[i] = x[index[i]]; and y[index[i]] += x[i] (each index at most once).
void gather_rows(ConstMatrix x, std::span<const int32_t> index, Matrix out);
void scatter_add_rows(ConstMatrix x, std::span<const int32_t> index, Matrix y);

}  // namespace unmask
