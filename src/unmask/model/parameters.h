#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/base/result.h"
#include "unmask/model/config.h"

namespace unmask {

// One named matrix inside the flat buffer. Weights are [outputs, inputs]; vectors are [1, n];
// the matrices of all experts of a layer stand one below the other: gate and up
// [experts * ffn, hidden], down [experts * hidden, ffn].
struct ParameterInfo {
  std::string name;    // e.g. "layers.3.experts.gate"
  int64_t offset = 0;  // elements from the start of the buffer, a multiple of 16
  int64_t rows = 0;
  int64_t cols = 0;
  bool decays = true;       // weight decay applies
  bool trained = true;      // receives gradients (the selection bias does not)
  bool of_experts = false;  // of all routed experts of a layer
  float init_std = 0;       // normal; 0: constant
  float init_value = 0;     // the constant

  int64_t size() const { return rows * cols; }
};

// Where everything lies: made from the configuration alone, shared by parameters, gradients and
// both moments.
struct ParameterLayout {
  std::vector<ParameterInfo> table;
  int64_t size = 0;  // elements of the flat buffer, padding included

  struct Layer {                  // indices into the table, -1 = absent
    int attention_norm = -1;      // [1, hidden]
    int qkv = -1;                 // [(heads + 2 kv_heads) head_dim, hidden]: Q, then K, then V
    int qkv_bias = -1;            // [1, (heads + 2 kv_heads) head_dim]
    int q_norm = -1;              // [1, head_dim]
    int k_norm = -1;              // [1, head_dim]
    int attention_out = -1;       // [hidden, heads * head_dim]
    int attention_out_bias = -1;  // [1, hidden]
    int ffn_norm = -1;            // [1, hidden]
    int router = -1;              // [experts, hidden]
    int expert_bias = -1;         // [1, experts], not trained by gradient
    int expert_gate = -1;         // [experts * expert_ffn, hidden]
    int expert_up = -1;           // [experts * expert_ffn, hidden]
    int expert_down = -1;         // [experts * hidden, expert_ffn]
    int shared_gate = -1;         // [shared_ffn, hidden]; the dense feed-forward of a dense layer
    int shared_up = -1;           // likewise
    int shared_down = -1;         // [hidden, shared_ffn]
  };
  int embedding = -1;  // [vocab, hidden]
  std::vector<Layer> layers;
  int final_norm = -1;  // [1, hidden]
  int head = -1;        // [vocab, hidden]; the same index as `embedding` when tied

  explicit ParameterLayout(const ModelConfig& config);
  ParameterLayout() = default;
  int find(const std::string& name) const;  // -1 = absent
  int64_t parameters() const;               // elements without the padding
};

// A flat f32 buffer in the form of a layout: parameters, gradients or a moment.
class Parameters {
 public:
  Parameters() = default;
  explicit Parameters(const ParameterLayout& layout)
      : layout_(&layout), buffer_(static_cast<size_t>(layout.size) * sizeof(float)) {}

  const ParameterLayout& layout() const { return *layout_; }
  std::span<float> flat() const {
    return {buffer_.as<float>(), static_cast<size_t>(layout_->size)};
  }
  Matrix operator[](int index) const {
    const ParameterInfo& p = layout_->table[index];
    return Matrix(buffer_.as<float>() + p.offset, p.rows, p.cols);
  }
  bool empty() const { return layout_ == nullptr; }

 private:
  const ParameterLayout* layout_ = nullptr;  // outlives this
  Buffer buffer_;
};

// Fills every parameter with its initial distribution: a function of (seed, parameter, element).
void initialize(const Parameters& parameters, uint64_t seed);
// Elements [first, first + out.size()) of one of them.
void initialize(const ParameterLayout& layout, int parameter, uint64_t seed, int64_t first,
                std::span<float> out);

}  // namespace unmask
