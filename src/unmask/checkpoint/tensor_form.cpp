#include "unmask/checkpoint/tensor_form.h"

#include <functional>
#include <numeric>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace unmask {
namespace {

// The names in which the families differ.
struct Names {
  const char* embedding;
  const char* q_norm;
  const char* k_norm;
  const char* attention_out;
  std::vector<const char*> qkv;  // one fused matrix, or Q, K and V
};

const Names kLlada2 = {"word_embeddings",
                       "attention.query_layernorm",
                       "attention.key_layernorm",
                       "attention.dense",
                       {"attention.query_key_value"}};
// LLaDA-MoE and SDAR-MoE have the names of Qwen3-MoE.
const Names kQwen3Moe = {"embed_tokens",
                         "self_attn.q_norm",
                         "self_attn.k_norm",
                         "self_attn.o_proj",
                         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}};

class FormBuilder {
 public:
  FormBuilder(const ModelConfig& config, const ParameterLayout& layout)
      : config_(config),
        layout_(layout),
        names_(config.family == Family::llada_moe || config.family == Family::sdar_moe ? kQwen3Moe
                                                                                       : kLlada2),
        forms_(layout.table.size()) {}

  std::vector<TensorForm> build() {
    whole(layout_.embedding, fmt::format("model.{}.weight", names_.embedding));
    for (int32_t i = 0; i < config_.layers; ++i) layer(i);
    whole(layout_.final_norm, "model.norm.weight");
    if (layout_.head != layout_.embedding) whole(layout_.head, "lm_head.weight");
    return std::move(forms_);
  }

 private:
  void layer(int32_t index) {
    const ParameterLayout::Layer& p = layout_.layers[static_cast<size_t>(index)];
    const std::string prefix = fmt::format("model.layers.{}.", index);
    const auto weight = [&](const char* name) { return prefix + name + ".weight"; };
    whole(p.attention_norm, weight("input_layernorm"));
    qkv(p.qkv, prefix, ".weight");
    qkv(p.qkv_bias, prefix, ".bias");
    whole(p.q_norm, weight(names_.q_norm));
    whole(p.k_norm, weight(names_.k_norm));
    whole(p.attention_out, weight(names_.attention_out));
    whole(p.attention_out_bias, prefix + names_.attention_out + ".bias");
    whole(p.ffn_norm, weight("post_attention_layernorm"));

    const std::string shared = prefix + (config_.is_dense(index) ? "mlp." : "mlp.shared_experts.");
    whole(p.shared_gate, shared + "gate_proj.weight");
    whole(p.shared_up, shared + "up_proj.weight");
    whole(p.shared_down, shared + "down_proj.weight");
    whole(p.router, weight("mlp.gate"));
    whole(p.expert_bias, prefix + "mlp.gate.expert_bias");
    experts(p.expert_gate, prefix, "gate_proj");
    experts(p.expert_up, prefix, "up_proj");
    experts(p.expert_down, prefix, "down_proj");
    for (const char* name : {"mlp.experts.gate_up_proj", "mlp.w1"}) {
      merged(p.expert_gate, prefix + name, 0, 2);
      merged(p.expert_up, prefix + name, 1, 2);
    }
    merged(p.expert_down, prefix + "mlp.w2", 0, 1);
  }

  // A parameter that is one tensor; vectors lose their single row.
  void whole(int parameter, std::string name) {
    if (parameter < 0) return;
    add(parameter, std::move(name), 0, layout_.table[static_cast<size_t>(parameter)].rows);
  }

  // Rows Q, then K, then V: of a matrix, or of a bias [1, rows].
  void qkv(int parameter, const std::string& prefix, const char* suffix) {
    if (parameter < 0) return;
    if (names_.qkv.size() == 1) return whole(parameter, prefix + names_.qkv[0] + suffix);
    const ParameterInfo& info = layout_.table[static_cast<size_t>(parameter)];
    const int64_t columns = info.rows == 1 ? 1 : info.cols;
    const int64_t q = int64_t{config_.heads} * config_.head_dim;
    const int64_t kv = int64_t{config_.kv_heads} * config_.head_dim;
    int64_t first = 0;
    for (size_t i = 0; i < 3; ++i) {
      const int64_t rows = i == 0 ? q : kv;
      StoredTensor part{prefix + names_.qkv[i] + suffix, {rows}, parameter, first * columns};
      if (info.rows != 1) part.shape.push_back(columns);
      form(parameter).parts.push_back(std::move(part));
      first += rows;
    }
  }

  void experts(int parameter, const std::string& prefix, const char* name) {
    if (parameter < 0) return;
    const ParameterInfo& info = layout_.table[static_cast<size_t>(parameter)];
    const int64_t rows = info.rows / config_.experts;
    for (int64_t e = 0; e < config_.experts; ++e) {
      add(parameter, fmt::format("{}mlp.experts.{}.{}.weight", prefix, e, name), e * rows, rows);
    }
    merged(parameter, prefix + "mlp.experts." + name, 0, 1);
  }

  void merged(int parameter, std::string name, int64_t index, int64_t sharing) {
    if (parameter < 0) return;
    const ParameterInfo& info = layout_.table[static_cast<size_t>(parameter)];
    const int64_t rows = sharing * info.rows / config_.experts;
    form(parameter).merged.push_back(
        {std::move(name), {config_.experts, rows, info.cols}, index, sharing});
  }

  void add(int parameter, std::string name, int64_t first_row, int64_t rows) {
    const ParameterInfo& info = layout_.table[static_cast<size_t>(parameter)];
    const bool vector = is_vector(name);
    StoredTensor part{std::move(name), {info.cols}, parameter, first_row * info.cols};
    if (!vector) part.shape.insert(part.shape.begin(), rows);
    form(parameter).parts.push_back(std::move(part));
  }

  // By name, because a matrix may have one row.
  static bool is_vector(std::string_view name) {
    return name.ends_with("norm.weight") || name.ends_with("bias");
  }

  TensorForm& form(int parameter) { return forms_[static_cast<size_t>(parameter)]; }

  const ModelConfig& config_;
  const ParameterLayout& layout_;
  const Names& names_;
  std::vector<TensorForm> forms_;
};

}  // namespace

int64_t StoredTensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<TensorForm> tensor_forms(const ModelConfig& config, const ParameterLayout& layout) {
  return FormBuilder(config, layout).build();
}

}  // namespace unmask
