#include "unmask/kernels/linear.h"

#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/matmul.h"
#include "unmask/kernels/reference/linear.h"

namespace unmask {
namespace {

// The matrix as a factor whose rows, or whose columns, run along k.
Operand along_rows(ConstMatrix m) { return {.data = m.data, .stride = m.stride}; }
Operand along_columns(ConstMatrix m) {
  return {.data = m.data, .stride = m.stride, .k_contiguous = false};
}

}  // namespace

void linear_forward(ConstMatrix x, ConstMatrix w, ConstMatrix bias, Matrix y, Precision precision) {
  UNMASK_CHECK(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (use_reference_kernels()) return reference::linear_forward(x, w, bias, y, precision);
  matmul(along_rows(x), along_rows(w), x.cols, y, Write::set, precision);
  if (!bias.empty()) add_bias(bias, y);
}

void linear_backward(ConstMatrix x, ConstMatrix w, ConstMatrix dy, Matrix dx, Matrix dw,
                     Matrix dbias, Write write_dx, Precision precision) {
  UNMASK_CHECK(dy.cols == w.rows);
  if (use_reference_kernels()) {
    return reference::linear_backward(x, w, dy, dx, dw, dbias, write_dx, precision);
  }
  if (!dx.empty()) matmul(along_rows(dy), along_columns(w), dy.cols, dx, write_dx, precision);
  if (!dw.empty()) matmul(along_columns(dy), along_columns(x), dy.rows, dw, Write::add, precision);
  if (!dbias.empty()) bias_backward(dy, dbias);
}

}  // namespace unmask
