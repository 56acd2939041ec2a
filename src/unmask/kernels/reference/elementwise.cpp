#include "unmask/kernels/reference/elementwise.h"

namespace unmask::reference {

void embedding_forward(ConstMatrix table, std::span<const int32_t> ids, Matrix out) {
  gather_rows(table, ids, out);
}

void embedding_backward(std::span<const int32_t> ids, ConstMatrix dout, Matrix dtable) {
  scatter_add_rows(dout, ids, dtable);
}

void add(ConstMatrix x, Matrix y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) y(i, j) += x(i, j);
  }
}

void copy(ConstMatrix x, Matrix y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) y(i, j) = x(i, j);
  }
}

void fill(float value, Matrix y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) y(i, j) = value;
  }
}

void copy_as_bf16(std::span<const float> x, std::span<bf16> rounded) {
  for (size_t i = 0; i < x.size(); ++i) rounded[i] = bf16(x[i]);
}

void add_bias(ConstMatrix bias, Matrix y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) y(i, j) += bias(0, j);
  }
}

void bias_backward(ConstMatrix dy, Matrix dbias) {
  for (int64_t j = 0; j < dy.cols; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < dy.rows; ++i) sum += dy(i, j);
    dbias(0, j) += static_cast<float>(sum);
  }
}

void gather_rows(ConstMatrix x, std::span<const int32_t> index, Matrix out) {
  for (int64_t i = 0; i < out.rows; ++i) {
    for (int64_t j = 0; j < out.cols; ++j) out(i, j) = x(index[i], j);
  }
}

void scatter_add_rows(ConstMatrix x, std::span<const int32_t> index, Matrix y) {
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) y(index[i], j) += x(i, j);
  }
}

}  // namespace unmask::reference
