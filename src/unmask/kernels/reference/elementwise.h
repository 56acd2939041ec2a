#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/view.h"

// Plain twins of unmask/kernels/elementwise.h.
namespace unmask::reference {

void embedding_forward(ConstMatrix table, std::span<const int32_t> ids, Matrix out);
void embedding_backward(std::span<const int32_t> ids, ConstMatrix dout, Matrix dtable);
void add(ConstMatrix x, Matrix y);
void copy(ConstMatrix x, Matrix y);
void fill(float value, Matrix y);
void copy_as_bf16(std::span<const float> x, std::span<bf16> rounded);
void add_bias(ConstMatrix bias, Matrix y);
void bias_backward(ConstMatrix dy, Matrix dbias);
void gather_rows(ConstMatrix x, std::span<const int32_t> index, Matrix out);
void scatter_add_rows(ConstMatrix x, std::span<const int32_t> index, Matrix y);

}  // namespace unmask::reference
