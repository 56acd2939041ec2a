#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "unmask/base/arena.h"
#include "unmask/base/result.h"
#include "unmask/checkpoint/packed_weights.h"

namespace unmask {

// Packed weights of any levels in memory, to measure with: what a forward pass takes does not
// depend on them, apart from who is chosen. Routers and embeddings are normal, norms one.
class RandomWeights final : public WeightStore {
 public:
  // Refuses a model that this machine has no memory for. With `usable` above zero (and a selection
  // bias in the model) the bias keeps tokens from choosing any but so many experts of a layer,
  // other ones in every layer: random routers spread tokens over all, which trained ones do not.
  static Result<std::shared_ptr<const RandomWeights>> create(const ModelConfig& config,
                                                             const PackedFormat& format,
                                                             uint64_t seed, int32_t usable = 0);

  const ModelWeights& weights() const { return weights_.weights(); }
  Status intact() const override { return {}; }

 private:
  std::map<std::string, Buffer> tensors_;
  PackedWeights weights_;
};

}  // namespace unmask
