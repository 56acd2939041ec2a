#include "unmask/kernels/dots.h"

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/isa/dots_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/linear.h"

namespace unmask {

void dot_products(ConstMatrix x, ConstMatrix w, Matrix y) {
  UNMASK_CHECK(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (y.empty()) return;
  if (use_reference_kernels()) {
    return reference::linear_forward(x, w, {}, y, Precision::f32);
  }
  constexpr int64_t kMostRows = 48;  // whose sums stay in the first-level cache
  const DotsKernel& kernel = dots_kernel();
  const int64_t chunks = (x.rows + kMostRows - 1) / kMostRows;
  const int64_t blocks = (w.rows + kernel.outputs - 1) / kernel.outputs;
  // Neighbours read the same rows of x.
  parallel_for_ahead(chunks * blocks, [&](int64_t task, int64_t following) {
    const int64_t chunk = task / blocks, j = task % blocks * kernel.outputs;
    const int64_t first = chunk * x.rows / chunks, last = (chunk + 1) * x.rows / chunks;
    const int64_t next = following < 0 ? j : following % blocks * kernel.outputs;
    ArenaScope scope(thread_scratch());
    kernel.dots({.x = x.row(first),
                 .x_stride = x.stride,
                 .rows = last - first,
                 .w = w.row(j),
                 .w_stride = w.stride,
                 .outputs = std::min<int64_t>(kernel.outputs, w.rows - j),
                 .w_next = w.row(next),
                 .k = x.cols,
                 .sums = thread_scratch().take<float>(kernel.sums_of(last - first)),
                 .y = y.row(first) + j,
                 .y_stride = y.stride});
  });
}

}  // namespace unmask
