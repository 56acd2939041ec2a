#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/model/attention_layer.h"
#include "unmask/model/moe_layer.h"
#include "unmask/model/profile.h"

namespace unmask {

// What a forward pass leaves behind: activations for the backward pass, and, in every mode, what
// statistics and tests look at. Reused from step to step: `forward` resets both arenas, and in the
// steady state nothing is allocated.
struct Tape {
  enum class Mode { training, inference };
  Mode mode = Mode::training;

  struct Layer {
    Matrix input;     // [N, hidden] residual stream into the layer; training only
    Matrix middle;    // [N, hidden] between attention and experts; training without recomputation
    Routing routing;  // logits, assignment, balance; empty in a dense layer
    AttentionSaved attention;  // training without recomputation, as is `moe`
    MoeSaved moe;
  };
  std::vector<Layer> layers;
  Matrix output;         // [N, hidden] residual stream after the last layer
  Matrix final_inv_rms;  // [N, 1]
  Matrix hidden;         // [N, hidden] after the final norm

  Profile profile;  // added to by every pass; the caller zeroes it

  Arena arena;    // of all of the above
  Arena scratch;  // of the passes

  void reset() {
    arena.reset();
    scratch.reset();
  }
};

}  // namespace unmask
