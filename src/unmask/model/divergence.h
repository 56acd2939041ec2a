#pragma once

#include <optional>
#include <string>

#include "unmask/model/model.h"

namespace unmask {

// Where a model first went wrong: "parameter layers.3.experts.down".
struct NonFinite {
  enum class Kind { parameter, activation, gradient };
  Kind kind;
  std::string name;

  std::string text() const;
};

// The first NaN or infinity in the order in which one causes the next: a parameter; else what the
// last forward pass in training mode left on the tape, by layer ("layers.3.attention", named as the
// parameters are; with `recompute` attention is not told from what follows it); else, when given, a
// gradient, from the head down to the embedding, as the backward pass makes them. Nothing when all
// of it is finite.
std::optional<NonFinite> first_non_finite(const Model& model, const Tape& tape,
                                          const Parameters* gradients);

}  // namespace unmask
