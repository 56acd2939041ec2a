#pragma once

#include <memory>
#include <span>

#include "unmask/routing/policy.h"

namespace unmask {

// The second stage of a router: how the chosen experts of one token are combined.
// z [n]: logits of the chosen experts, n >= 1; row [experts]: all logits of the token.
class Weighting {
 public:
  virtual ~Weighting() = default;
  // w [n] =
  virtual void forward(std::span<const float> z, std::span<const float> row,
                       std::span<float> w) const = 0;
  // From d_w [n]: d_z [n] = (its part through the chosen logits), d_row [experts] += (its part
  // through all logits, which most weightings do not have).
  virtual void backward(std::span<const float> z, std::span<const float> row,
                        std::span<const float> d_w, std::span<float> d_z,
                        std::span<float> d_row) const = 0;
};

// w = softmax(z)
std::unique_ptr<Weighting> make_softmax_weighting();
// w = softmax(row) at the chosen experts
std::unique_ptr<Weighting> make_softmax_before_weighting();
// w = sigmoid(z), and / (sum + 1e-20) when renormalised
std::unique_ptr<Weighting> make_sigmoid_weighting();
std::unique_ptr<Weighting> make_normalized_sigmoid_weighting();

std::unique_ptr<Weighting> make_weighting(const RoutingPolicy& policy);

}  // namespace unmask
