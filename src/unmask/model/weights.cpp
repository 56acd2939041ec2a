#include "unmask/model/weights.h"

#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/linear.h"
#include "unmask/kernels/quantized_linear.h"

namespace unmask {
namespace {

ModelWeights::Layer layer_weights(const Parameters& parameters, const RoundedExperts& rounded,
                                  int32_t layer) {
  const ParameterLayout::Layer& index = parameters.layout().layers[layer];
  const auto view = [&](int i) { return i < 0 ? ConstMatrix() : ConstMatrix(parameters[i]); };
  ModelWeights::Layer weights;
  weights.attention = {.norm = view(index.attention_norm),
                       .qkv = view(index.qkv),
                       .qkv_bias = view(index.qkv_bias),
                       .q_norm = view(index.q_norm),
                       .k_norm = view(index.k_norm),
                       .out = view(index.attention_out),
                       .out_bias = view(index.attention_out_bias)};
  weights.moe.norm = view(index.ffn_norm);
  weights.moe.router = view(index.router);
  weights.moe.expert_bias = view(index.expert_bias);
  if (index.expert_gate >= 0) {
    weights.moe.experts = ExpertWeights{
        {view(index.expert_gate), view(index.expert_up), view(index.expert_down)},
        {rounded[index.expert_gate], rounded[index.expert_up], rounded[index.expert_down]}};
  }
  if (index.shared_gate >= 0) {
    weights.moe.shared =
        FeedForwardWeights{view(index.shared_gate), view(index.shared_up), view(index.shared_down)};
  }
  return weights;
}

}  // namespace

ModelWeights weights_of(const Parameters& parameters, const RoundedExperts& rounded) {
  const ParameterLayout& layout = parameters.layout();
  ModelWeights weights;
  weights.embedding = ConstMatrix(parameters[layout.embedding]);
  for (int32_t i = 0; i < std::ssize(layout.layers); ++i) {
    weights.layers.push_back(layer_weights(parameters, rounded, i));
  }
  weights.final_norm = parameters[layout.final_norm];
  weights.head = ConstMatrix(parameters[layout.head]);
  return weights;
}

int64_t rows_of(const Weight& weight) {
  if (const auto* packed = std::get_if<QuantizedMatrix>(&weight)) return packed->shape.rows;
  return std::get<ConstMatrix>(weight).rows;
}

const ExpertCache* expert_cache_of(const ModelWeights& weights) {
  for (const ModelWeights::Layer& layer : weights.layers) {
    if (const auto* cached = std::get_if<CachedExperts>(&layer.moe.experts)) return cached->cache;
  }
  return nullptr;
}

int64_t expert_bytes(const MoeWeights& weights, int32_t experts) {
  if (const auto* packed = std::get_if<QuantizedExperts>(&weights.experts)) {
    return packed->form.bytes();
  }
  if (const auto* cached = std::get_if<CachedExperts>(&weights.experts)) {
    return cached->cache->form().bytes();
  }
  const auto& plain = std::get<ExpertWeights>(weights.experts);
  return (plain.gate.size() + plain.up.size() + plain.down.size()) / experts *
         int64_t{sizeof(float)};
}

void linear_forward(ConstMatrix x, const Weight& w, ConstMatrix bias, Matrix y,
                    Precision precision) {
  if (const auto* packed = std::get_if<QuantizedMatrix>(&w)) {
    return linear_forward(x, *packed, bias, y);
  }
  linear_forward(x, std::get<ConstMatrix>(w), bias, y, precision);
}

void embed(const EmbeddingWeight& embedding, std::span<const int32_t> tokens, Matrix x) {
  std::visit([&](const auto& table) { embedding_forward(table, tokens, x); }, embedding);
}

}  // namespace unmask
