#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "unmask/base/bf16.h"
#include "unmask/base/view.h"
#include "unmask/kernels/experts.h"
#include "unmask/kernels/feed_forward.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/quantized_experts.h"
#include "unmask/kernels/quantized_matrix.h"
#include "unmask/model/expert_cache.h"
#include "unmask/model/parameters.h"
#include "unmask/model/rounded_experts.h"

// What a forward pass reads, borrowed from parameters or from a packed model. Shapes are those of
// ParameterLayout; an absent one is an empty matrix.
namespace unmask {

// [outputs, inputs]
using Weight = std::variant<ConstMatrix, QuantizedMatrix>;
// [vocab, hidden]; of a packed model rows of bf16, since a product never meets them.
using EmbeddingWeight = std::variant<ConstMatrix, View<const bf16>>;

struct AttentionWeights {
  ConstMatrix norm;
  Weight qkv;
  ConstMatrix qkv_bias;
  ConstMatrix q_norm;
  ConstMatrix k_norm;
  Weight out;
  ConstMatrix out_bias;
};

// The experts of one layer, counted among those that have them, in a cache.
struct CachedExperts {
  ExpertCache* cache = nullptr;
  int32_t layer = 0;
};

// A dense layer has only the norm and `shared`.
struct MoeWeights {
  ConstMatrix norm;
  ConstMatrix router;
  ConstMatrix expert_bias;
  std::variant<std::monostate, ExpertWeights, QuantizedExperts, CachedExperts> experts;
  std::variant<std::monostate, FeedForwardWeights, QuantizedFeedForward> shared;
};

struct ModelWeights {
  struct Layer {
    AttentionWeights attention;
    MoeWeights moe;
  };
  EmbeddingWeight embedding;
  std::vector<Layer> layers;
  ConstMatrix final_norm;
  Weight head;
};

// What keeps borrowed weights in their place, and knows whether they are still what they were.
class WeightStore {
 public:
  virtual ~WeightStore() = default;
  // An error when a file has changed underneath or could not be read: what was computed since the
  // last call without one is not to be believed.
  virtual Status intact() const = 0;
};

ModelWeights weights_of(const Parameters& parameters, const RoundedExperts& rounded);

int64_t rows_of(const Weight& weight);
// Where the routed experts are kept, null when all of them are in memory.
const ExpertCache* expert_cache_of(const ModelWeights& weights);
// Of one routed expert, as a product reads it.
int64_t expert_bytes(const MoeWeights& weights, int32_t experts);

// y = x·Wᵀ + b, x [n, in], y [n, out]. The precision is that of plain weights; packed ones have
// their own (quantized_linear.h).
void linear_forward(ConstMatrix x, const Weight& w, ConstMatrix bias, Matrix y,
                    Precision precision);

// x[i] = embedding[tokens[i]]
void embed(const EmbeddingWeight& embedding, std::span<const int32_t> tokens, Matrix x);

}  // namespace unmask
