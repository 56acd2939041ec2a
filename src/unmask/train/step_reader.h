#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/text/sequences.h"

namespace unmask {

// Fills `batch` with the sequences of one step: those at [position, position + count) of the
// training data.
Status read_step(const TrainingSequences& sequences, int64_t position, int64_t count,
                 SequenceBatch& batch);

// The first `count` held-out sequences, the same at every evaluation.
Status read_validation(const TrainingSequences& sequences, int64_t count, SequenceBatch& batch);

}  // namespace unmask
