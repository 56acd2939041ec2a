#include "unmask/checkpoint/packed_weights.h"

namespace unmask {
namespace {

struct Lookup {
  const ModelConfig& config;
  const PackedFormat& format;
  const PackedWeights::BytesOf& bytes_of;
  ParameterLayout layout{config};

  const ParameterInfo& info(int parameter) const {
    return layout.table[static_cast<size_t>(parameter)];
  }
  ConstMatrix plain(int parameter) const {
    if (parameter < 0) return {};
    const ParameterInfo& p = info(parameter);
    return {reinterpret_cast<const float*>(bytes_of(p.name)), p.rows, p.cols};
  }
  QuantizedMatrix matrix(const std::string& name, int parameter) const {
    const ParameterInfo& p = info(parameter);
    return matrix_at(format.dense.shape(p.rows, p.cols), bytes_of(name));
  }
  QuantizedMatrix matrix(int parameter) const { return matrix(info(parameter).name, parameter); }

  ModelWeights::Layer layer(int32_t index, std::vector<const std::byte*>& records) const {
    const ParameterLayout::Layer& p = layout.layers[static_cast<size_t>(index)];
    ModelWeights::Layer weights;
    weights.attention = {.norm = plain(p.attention_norm),
                         .qkv = matrix(p.qkv),
                         .qkv_bias = plain(p.qkv_bias),
                         .q_norm = plain(p.q_norm),
                         .k_norm = plain(p.k_norm),
                         .out = matrix(p.attention_out),
                         .out_bias = plain(p.attention_out_bias)};
    weights.moe.norm = plain(p.ffn_norm);
    weights.moe.router = plain(p.router);
    weights.moe.expert_bias = plain(p.expert_bias);
    if (p.expert_gate >= 0) {
      const ExpertForm form = expert_form(config, format);
      const std::byte* const first = bytes_of(experts_name(index));
      for (int64_t e = 0; e < config.experts; ++e) records.push_back(first + e * form.bytes());
      weights.moe.experts = QuantizedExperts{form, records};
    }
    if (p.shared_gate >= 0) {
      const bool dense = config.is_dense(index);
      weights.moe.shared = QuantizedFeedForward{feed_forward_form(config, dense, format),
                                                bytes_of(feed_forward_name(index, dense))};
    }
    return weights;
  }
};

}  // namespace

PackedWeights::PackedWeights(const ModelConfig& config, const PackedFormat& format,
                             const BytesOf& bytes_of)
    : records_(static_cast<size_t>(config.layers)) {
  const Lookup lookup{config, format, bytes_of};
  const ParameterInfo& embedding = lookup.info(lookup.layout.embedding);
  weights_.embedding = View<const bf16>(reinterpret_cast<const bf16*>(bytes_of(embedding.name)),
                                        embedding.rows, embedding.cols);
  for (int32_t i = 0; i < config.layers; ++i) {
    weights_.layers.push_back(lookup.layer(i, records_[static_cast<size_t>(i)]));
  }
  weights_.final_norm = lookup.plain(lookup.layout.final_norm);
  weights_.head = lookup.matrix("head", lookup.layout.head);
}

}  // namespace unmask
