#include "unmask/model/parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "unmask/base/parallel.h"
#include "unmask/base/random.h"

namespace unmask {
namespace {

// A cache line of f32, and the width of one AVX-512 register.
constexpr int64_t kAlignment = 16;
// Elements drawn by one task.
constexpr int64_t kGrain = 1 << 16;

class LayoutBuilder {
 public:
  explicit LayoutBuilder(ParameterLayout& layout) : layout_(layout) {}

  int weight(std::string name, int64_t rows, int64_t cols, float init_std) {
    return add({.name = std::move(name), .rows = rows, .cols = cols, .init_std = init_std});
  }
  int expert_weight(std::string name, int64_t rows, int64_t cols, float init_std) {
    return add({.name = std::move(name),
                .rows = rows,
                .cols = cols,
                .of_experts = true,
                .init_std = init_std});
  }
  int norm(std::string name, int64_t n) {
    return add({.name = std::move(name), .rows = 1, .cols = n, .decays = false, .init_value = 1});
  }
  int bias(std::string name, int64_t n, bool trained = true) {
    return add(
        {.name = std::move(name), .rows = 1, .cols = n, .decays = false, .trained = trained});
  }

 private:
  int add(ParameterInfo info) {
    info.offset = layout_.size;
    layout_.size += (info.size() + kAlignment - 1) / kAlignment * kAlignment;
    layout_.table.push_back(std::move(info));
    return static_cast<int>(layout_.table.size()) - 1;
  }

  ParameterLayout& layout_;
};

ParameterLayout::Layer make_layer(LayoutBuilder& build, const ModelConfig& config, int32_t index) {
  const std::string prefix = fmt::format("layers.{}.", index);
  const float std = config.init_std;
  // So that the variance of the residual stream does not grow with depth (GPT-2).
  const float residual_std = std / std::sqrt(2.0f * static_cast<float>(config.layers));
  const int64_t hidden = config.hidden;
  const int64_t head_dim = config.head_dim;
  const int64_t attended = config.heads * head_dim;
  const int64_t qkv = attended + 2 * config.kv_heads * head_dim;

  ParameterLayout::Layer layer;
  layer.attention_norm = build.norm(prefix + "attention_norm", hidden);
  layer.qkv = build.weight(prefix + "attention.qkv", qkv, hidden, std);
  if (config.qkv_bias) layer.qkv_bias = build.bias(prefix + "attention.qkv_bias", qkv);
  if (config.qk_norm) {
    layer.q_norm = build.norm(prefix + "attention.q_norm", head_dim);
    layer.k_norm = build.norm(prefix + "attention.k_norm", head_dim);
  }
  layer.attention_out = build.weight(prefix + "attention.out", hidden, attended, residual_std);
  if (config.linear_bias) {
    layer.attention_out_bias = build.bias(prefix + "attention.out_bias", hidden);
  }
  layer.ffn_norm = build.norm(prefix + "ffn_norm", hidden);

  const auto feed_forward = [&](const char* name, int64_t width) {
    if (width == 0) return;
    layer.shared_gate = build.weight(prefix + name + ".gate", width, hidden, std);
    layer.shared_up = build.weight(prefix + name + ".up", width, hidden, std);
    layer.shared_down = build.weight(prefix + name + ".down", hidden, width, residual_std);
  };
  if (config.is_dense(index)) {
    feed_forward("dense", config.dense_ffn);
    return layer;
  }
  const int64_t experts = config.experts;
  const int64_t ffn = config.expert_ffn;
  layer.router = build.weight(prefix + "router", experts, hidden, std);
  if (config.expert_bias) layer.expert_bias = build.bias(prefix + "expert_bias", experts, false);
  layer.expert_gate = build.expert_weight(prefix + "experts.gate", experts * ffn, hidden, std);
  layer.expert_up = build.expert_weight(prefix + "experts.up", experts * ffn, hidden, std);
  layer.expert_down =
      build.expert_weight(prefix + "experts.down", experts * hidden, ffn, residual_std);
  feed_forward("shared", config.shared_ffn);
  return layer;
}

// Standard normals of four counters, four from each: Box-Muller on both pairs of its words.
std::array<float, 16> sixteen_normals(RandomKey key, uint64_t counter, uint32_t parameter) {
  std::array<std::array<uint32_t, 4>, 4> bits;
  random_bits_of_four(key, counter, parameter, 0, bits);
  std::array<float, 16> normal;
  for (size_t i = 0; i < 16; i += 2) {
    const std::array<uint32_t, 4>& words = bits[i / 4];
    const float radius = std::sqrt(-2.0f * std::log(to_unit_interval(words[i % 4])));
    const float angle = 2.0f * std::numbers::pi_v<float> * to_unit_interval(words[i % 4 + 1]);
    normal[i] = radius * std::cos(angle);
    normal[i + 1] = radius * std::sin(angle);
  }
  return normal;
}

}  // namespace

ParameterLayout::ParameterLayout(const ModelConfig& config) {
  LayoutBuilder build(*this);
  embedding = build.weight("embedding", config.vocab_size, config.hidden, config.init_std);
  for (int32_t i = 0; i < config.layers; ++i) layers.push_back(make_layer(build, config, i));
  final_norm = build.norm("final_norm", config.hidden);
  head = config.tied_head ? embedding
                          : build.weight("head", config.vocab_size, config.hidden, config.init_std);
}

int ParameterLayout::find(const std::string& name) const {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const auto& p) { return p.name == name; });
  return found == table.end() ? -1 : static_cast<int>(found - table.begin());
}

int64_t ParameterLayout::parameters() const {
  int64_t count = 0;
  for (const ParameterInfo& info : table) count += info.size();
  return count;
}

void initialize(const Parameters& parameters, uint64_t seed) {
  const ParameterLayout& layout = parameters.layout();
  for (size_t index = 0; index < layout.table.size(); ++index) {
    const ParameterInfo& info = layout.table[index];
    initialize(layout, static_cast<int>(index), seed, 0,
               parameters.flat().subspan(static_cast<size_t>(info.offset),
                                         static_cast<size_t>(info.size())));
  }
}

void initialize(const ParameterLayout& layout, int parameter, uint64_t seed, int64_t first,
                std::span<float> out) {
  const ParameterInfo& info = layout.table[static_cast<size_t>(parameter)];
  UNMASK_CHECK(first >= 0 && first + std::ssize(out) <= info.size());
  if (info.init_std == 0) {
    std::fill(out.begin(), out.end(), info.init_value);
    return;
  }
  const RandomKey key{seed, Purpose::initialization};
  parallel_pieces(std::ssize(out), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t counter = (first + i) / 4;
      const auto normal =
          sixteen_normals(key, static_cast<uint64_t>(counter), static_cast<uint32_t>(parameter));
      const int64_t skip = first + i - 4 * counter;
      const int64_t count = std::min(std::ssize(normal) - skip, end - i);
      std::transform(normal.begin() + skip, normal.begin() + skip + count, out.begin() + i,
                     [&](float value) { return info.init_std * value; });
      i += count;
    }
  });
}

}  // namespace unmask
