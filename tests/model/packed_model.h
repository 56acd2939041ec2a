#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/kernels/quantized_experts.h"
#include "unmask/model/model.h"
#include "unmask/model/weights.h"

namespace unmask {

// The weights of a model, packed in memory.
class PackedModel : public WeightStore {
 public:
  PackedModel(const Model& model, WeightFormat format)
      : config_(model.config()), parameters_(model.parameters()), format_(format) {
    const ParameterLayout& layout = parameters_.layout();
    weights_ = weights_of(parameters_, RoundedExperts());
    for (int32_t i = 0; i < config_.layers; ++i) pack_layer(layout.layers[i], weights_.layers[i]);
    weights_.head = pack(layout.head);
    const ConstMatrix table = parameters_[layout.embedding];
    auto* const rows = reinterpret_cast<bf16*>(room(table.size() * int64_t{sizeof(bf16)}));
    for (int64_t i = 0; i < table.size(); ++i) rows[i] = bf16(table.data[i]);
    weights_.embedding = View<const bf16>(rows, table.rows, table.cols);
  }

  const ModelWeights& weights() const { return weights_; }
  Status intact() const override { return {}; }

 private:
  QuantizedShape shape(int64_t rows, int64_t cols) const {
    return {format_, rows, cols, format_ == WeightFormat::bf16 ? 0 : 32};
  }
  std::byte* room(int64_t bytes) {
    memory_.emplace_back(static_cast<size_t>(bytes));
    return memory_.back().data();
  }
  static void pack(const QuantizedShape& shape, ConstMatrix w, std::byte* bytes) {
    quantize(shape, w, bytes, reinterpret_cast<bf16*>(bytes + shape.data_bytes()));
  }
  QuantizedMatrix pack(int index) {
    const ConstMatrix w = parameters_[index];
    const QuantizedShape s = shape(w.rows, w.cols);
    std::byte* const bytes = room(s.bytes());
    pack(s, w, bytes);
    return matrix_at(s, bytes);
  }
  // Expert i of matrices that hold `count` of them.
  const std::byte* record(const ExpertForm& form, int gate, int up, int down, int64_t i) {
    std::byte* const bytes = room(form.bytes());
    const auto part = [&](int index, int64_t rows) {
      return ConstMatrix(parameters_[index]).row_range(i * rows, rows);
    };
    pack(form.up, part(gate, form.up.rows), bytes);
    pack(form.up, part(up, form.up.rows), bytes + form.up.bytes());
    pack(form.down, part(down, form.down.rows), bytes + 2 * form.up.bytes());
    return bytes;
  }
  void pack_layer(const ParameterLayout::Layer& index, ModelWeights::Layer& layer) {
    layer.attention.qkv = pack(index.qkv);
    layer.attention.out = pack(index.attention_out);
    const int64_t hidden = config_.hidden;
    if (index.shared_gate >= 0) {
      const int64_t width = parameters_[index.shared_gate].rows;
      const ExpertForm form = {shape(width, hidden), shape(hidden, width)};
      layer.moe.shared = QuantizedFeedForward{
          form, record(form, index.shared_gate, index.shared_up, index.shared_down, 0)};
    }
    if (index.expert_gate < 0) return;
    const ExpertForm form = {shape(config_.expert_ffn, hidden), shape(hidden, config_.expert_ffn)};
    records_.push_back(std::make_unique<std::vector<const std::byte*>>());
    for (int32_t e = 0; e < config_.experts; ++e) {
      records_.back()->push_back(
          record(form, index.expert_gate, index.expert_up, index.expert_down, e));
    }
    layer.moe.experts = QuantizedExperts{form, *records_.back()};
  }

  const ModelConfig& config_;
  const Parameters& parameters_;
  WeightFormat format_;
  std::vector<Buffer> memory_;
  std::vector<std::unique_ptr<std::vector<const std::byte*>>> records_;
  ModelWeights weights_;
};

}  // namespace unmask
