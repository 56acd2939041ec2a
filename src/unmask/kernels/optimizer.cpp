#include "unmask/kernels/optimizer.h"

#include <cmath>

#include "unmask/base/arena.h"
#include "unmask/base/check.h"
#include "unmask/base/parallel.h"
#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/optimizer.h"

namespace unmask {
namespace {

constexpr int64_t kPiece = 1 << 16;
// Small enough that parameters are still in the second-level cache when they are rounded.
constexpr int64_t kUpdatePiece = 1 << 13;

}  // namespace

void adamw_update(const AdamW& adamw, std::span<float> parameter, std::span<const float> gradient,
                  std::span<float> first_moment, std::span<float> second_moment,
                  std::span<bf16> rounded) {
  UNMASK_CHECK(gradient.size() == parameter.size() && first_moment.size() == parameter.size() &&
               second_moment.size() == parameter.size() && adamw.step >= 1);
  UNMASK_CHECK(rounded.empty() || rounded.size() == parameter.size());
  if (use_reference_kernels()) {
    return reference::adamw_update(adamw, parameter, gradient, first_moment, second_moment,
                                   rounded);
  }

  const double steps = static_cast<double>(adamw.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(adamw.beta1), steps);
  const double correction2 = 1.0 - std::pow(static_cast<double>(adamw.beta2), steps);
  const AdamWStep step = {
      .gradient_scale = adamw.gradient_scale,
      .beta1 = adamw.beta1,
      .beta2 = adamw.beta2,
      .decay = 1.0f - adamw.learning_rate * adamw.weight_decay,
      .rate = static_cast<float>(adamw.learning_rate / correction1),
      .root_scale = static_cast<float>(1.0 / std::sqrt(correction2)),
      .epsilon = adamw.epsilon,
  };
  const ElementwiseKernel& kernel = elementwise_kernel();
  parallel_pieces(std::ssize(parameter), kUpdatePiece, [&](int64_t begin, int64_t end) {
    kernel.adamw(step, end - begin, parameter.data() + begin, gradient.data() + begin,
                 first_moment.data() + begin, second_moment.data() + begin);
    if (!rounded.empty()) {
      kernel.copy_as_bf16(end - begin, parameter.data() + begin, rounded.data() + begin);
    }
  });
}

double squared_norm(std::span<const float> values) {
  if (use_reference_kernels()) return reference::squared_norm(values);

  const int64_t pieces = (std::ssize(values) + kPiece - 1) / kPiece;
  ArenaScope scope(thread_scratch());
  double* partial = thread_scratch().take<double>(pieces);
  parallel_pieces(std::ssize(values), kPiece, [&](int64_t begin, int64_t end) {
    constexpr int kLanes = 16;
    double lane[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (int j = 0; j < kLanes; ++j) {
        const double x = values[i + j];
        lane[j] += x * x;
      }
    }
    double sum = 0;
    for (; i < end; ++i) sum += static_cast<double>(values[i]) * values[i];
    for (const double part : lane) sum += part;
    partial[begin / kPiece] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < pieces; ++i) sum += partial[i];
  return sum;
}

}  // namespace unmask
