#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/diffusion/objective.h"
#include "unmask/model/model.h"

namespace unmask {

// How far the logits of one model are from those of another, row by row (a row: one masked
// position), each row without its mean, which no softmax sees.
struct LogitDifference {
  int64_t rows = 0;
  double reference_rms = 0;  // of the reference's logits
  double rms = 0;            // of the differences
  double largest = 0;        // of them
  double same_argmax =
      0;  // share of rows with the same most probable token, the mask token left out

  double relative() const { return rms / reference_rms; }
};

// Over the masked positions of the sequences, half of each masked, the same for both models.
// Refuses models that differ in vocabulary, mask token or attention.
Result<LogitDifference> compare_logits(Model& model, Model& reference, const CleanBatch& sequences,
                                       uint64_t seed);

}  // namespace unmask
