#include "unmask/kernels/elementwise.h"

#include <algorithm>

#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/elementwise.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {
namespace {

void add_row(const float* x, float* y, int64_t n) {
  for (int64_t j = 0; j < n; ++j) y[j] += x[j];
}

// body(i) for every row, several to a piece.
template <class Body>
void for_rows(int64_t rows, int64_t cols, Body&& body) {
  parallel_pieces(rows, rows_per_piece(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

template <class T>
void look_up(View<const T> table, std::span<const int32_t> ids, Matrix out) {
  UNMASK_CHECK(std::ssize(ids) == out.rows && table.cols == out.cols);
  for_rows(out.rows, out.cols, [&](int64_t i) {
    UNMASK_CHECK(ids[i] >= 0 && ids[i] < table.rows);
    const T* const row = table.row(ids[i]);
    for (int64_t j = 0; j < out.cols; ++j) out(i, j) = static_cast<float>(row[j]);
  });
}

}  // namespace

void embedding_forward(ConstMatrix table, std::span<const int32_t> ids, Matrix out) {
  if (use_reference_kernels()) return reference::embedding_forward(table, ids, out);
  look_up(table, ids, out);
}

void embedding_forward(View<const bf16> table, std::span<const int32_t> ids, Matrix out) {
  look_up(table, ids, out);
}

void embedding_backward(std::span<const int32_t> ids, ConstMatrix dout, Matrix dtable) {
  UNMASK_CHECK(std::ssize(ids) == dout.rows && dtable.cols == dout.cols);
  if (use_reference_kernels()) return reference::embedding_backward(ids, dout, dtable);
  // An id may occur in any number of rows, so threads share columns, not rows.
  constexpr int64_t kColumns = 64;
  parallel_pieces(dout.cols, kColumns, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < dout.rows; ++i) {
      UNMASK_CHECK(ids[i] >= 0 && ids[i] < dtable.rows);
      add_row(dout.row(i) + begin, dtable.row(ids[i]) + begin, end - begin);
    }
  });
}

void add(ConstMatrix x, Matrix y) {
  UNMASK_CHECK(x.rows == y.rows && x.cols == y.cols);
  if (use_reference_kernels()) return reference::add(x, y);
  for_rows(y.rows, y.cols, [&](int64_t i) { add_row(x.row(i), y.row(i), y.cols); });
}

void copy(ConstMatrix x, Matrix y) {
  UNMASK_CHECK(x.rows == y.rows && x.cols == y.cols);
  if (use_reference_kernels()) return reference::copy(x, y);
  for_rows(y.rows, y.cols, [&](int64_t i) { std::copy_n(x.row(i), y.cols, y.row(i)); });
}

void fill(float value, Matrix y) {
  if (use_reference_kernels()) return reference::fill(value, y);
  for_rows(y.rows, y.cols, [&](int64_t i) { std::fill_n(y.row(i), y.cols, value); });
}

void copy_as_bf16(std::span<const float> x, std::span<bf16> rounded) {
  UNMASK_CHECK(x.size() == rounded.size());
  if (use_reference_kernels()) return reference::copy_as_bf16(x, rounded);
  constexpr int64_t kPiece = 1 << 16;
  parallel_pieces(std::ssize(x), kPiece, [&](int64_t begin, int64_t end) {
    elementwise_kernel().copy_as_bf16(end - begin, x.data() + begin, rounded.data() + begin);
  });
}

void add_bias(ConstMatrix bias, Matrix y) {
  UNMASK_CHECK(bias.rows == 1 && bias.cols == y.cols);
  if (use_reference_kernels()) return reference::add_bias(bias, y);
  for_rows(y.rows, y.cols, [&](int64_t i) { add_row(bias.data, y.row(i), y.cols); });
}

void bias_backward(ConstMatrix dy, Matrix dbias) {
  UNMASK_CHECK(dbias.rows == 1 && dbias.cols == dy.cols);
  if (use_reference_kernels()) return reference::bias_backward(dy, dbias);
  for_rows_summing(dy.rows, dy.cols, dbias, [&](int64_t begin, int64_t end, float* sum) {
    for (int64_t i = begin; i < end; ++i) add_row(dy.row(i), sum, dy.cols);
  });
}

void gather_rows(ConstMatrix x, std::span<const int32_t> index, Matrix out) {
  UNMASK_CHECK(std::ssize(index) == out.rows && x.cols == out.cols);
  if (use_reference_kernels()) return reference::gather_rows(x, index, out);
  for_rows(out.rows, out.cols, [&](int64_t i) {
    UNMASK_CHECK(index[i] >= 0 && index[i] < x.rows);
    std::copy_n(x.row(index[i]), out.cols, out.row(i));
  });
}

void scatter_add_rows(ConstMatrix x, std::span<const int32_t> index, Matrix y) {
  UNMASK_CHECK(std::ssize(index) == x.rows && x.cols == y.cols);
  if (use_reference_kernels()) return reference::scatter_add_rows(x, index, y);
  for_rows(x.rows, x.cols, [&](int64_t i) {
    UNMASK_CHECK(index[i] >= 0 && index[i] < y.rows);
    add_row(x.row(i), y.row(index[i]), x.cols);
  });
}

}  // namespace unmask
