#pragma once

#include <cstdint>

namespace unmask {

// The learning rate over the steps of a run.
struct LearningRate {
  enum class Shape {
    constant,
    cosine,  // from peak to floor along half a cosine
    wsd,     // warm-up, stable, decay over the last steps: floor + (peak - floor)(2 * 0.5^x - 1),
             // x from 0 to 1 (arXiv 2604.01622, appendix)
  };
  Shape shape = Shape::wsd;
  float peak = 2e-4f;
  float floor = 2e-5f;
  int64_t warmup = 0;  // steps of linear rise
  double decay = 0.2;  // wsd: share of the steps that decay
  int64_t steps = 1;   // of the whole run

  // Of the update that makes step `step` (counted from 1) complete.
  float at(int64_t step) const;
};

}  // namespace unmask
