#pragma once

#include <cstdint>

#include "unmask/base/view.h"
#include "unmask/kernels/packed.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/write.h"

namespace unmask {

// c [m, n] = A·B, or += (`write`): A packed by tiles of rows, B by panels, over all threads. Each
// element is one sum over k in ascending order, so the result does not depend on the number of
// threads.
void matmul(const Operand& a, const Operand& b, int64_t k, Matrix c, Write write,
            Precision precision);

}  // namespace unmask
