#pragma once

#include "unmask/base/bf16.h"
#include "unmask/kernels/precision.h"

namespace unmask::reference {

// A factor of a product as the precision sees it.
inline double rounded(float value, Precision precision) {
  return precision == Precision::bf16 ? round_to_bf16(value) : value;
}

}  // namespace unmask::reference
