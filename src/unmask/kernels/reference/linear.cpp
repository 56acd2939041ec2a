#include "unmask/kernels/reference/linear.h"

#include "unmask/kernels/reference/rounded.h"

namespace unmask::reference {

void linear_forward(ConstMatrix x, ConstMatrix w, ConstMatrix bias, Matrix y, Precision precision) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) {
      double sum = bias.empty() ? 0.0 : bias(0, j);
      for (int64_t p = 0; p < x.cols; ++p) {
        sum += rounded(x(i, p), precision) * rounded(w(j, p), precision);
      }
      y(i, j) = static_cast<float>(sum);
    }
  }
}

void linear_backward(ConstMatrix x, ConstMatrix w, ConstMatrix dy, Matrix dx, Matrix dw,
                     Matrix dbias, Write write_dx, Precision precision) {
  for (int64_t i = 0; i < dx.rows; ++i) {
    for (int64_t p = 0; p < dx.cols; ++p) {
      double sum = write_dx == Write::add ? dx(i, p) : 0.0;
      for (int64_t j = 0; j < dy.cols; ++j) {
        sum += rounded(dy(i, j), precision) * rounded(w(j, p), precision);
      }
      dx(i, p) = static_cast<float>(sum);
    }
  }
  for (int64_t j = 0; j < dw.rows; ++j) {
    for (int64_t p = 0; p < dw.cols; ++p) {
      double sum = dw(j, p);
      for (int64_t i = 0; i < dy.rows; ++i) {
        sum += rounded(dy(i, j), precision) * rounded(x(i, p), precision);
      }
      dw(j, p) = static_cast<float>(sum);
    }
  }
  for (int64_t j = 0; j < dbias.cols; ++j) {
    double sum = dbias(0, j);
    for (int64_t i = 0; i < dy.rows; ++i) sum += dy(i, j);
    dbias(0, j) = static_cast<float>(sum);
  }
}

}  // namespace unmask::reference
