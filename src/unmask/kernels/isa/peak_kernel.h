#pragma once

#include <cstdint>

#include "unmask/kernels/precision.h"

namespace unmask {

// Arithmetic at full speed, for measuring the machine (machine.h).
struct PeakKernel {
  float (*run)(int64_t steps);
  double operations_per_step;
};

const PeakKernel& peak_kernel(Precision precision);
const PeakKernel& int8_peak_kernel();  // dot products of bytes, sums of 32 bits

}  // namespace unmask
