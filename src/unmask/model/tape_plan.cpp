#include "unmask/model/tape_plan.h"

#include <algorithm>

#include "unmask/model/head.h"

namespace unmask {
namespace {

// What an arena uses for a matrix: pieces begin at multiples of 64 bytes.
size_t bytes(int64_t rows, int64_t cols) {
  return (static_cast<size_t>(std::max<int64_t>(rows * cols, 1)) * sizeof(float) + 63) / 64 * 64;
}

// Sizes of the pieces that the layers take, each named as where it is taken.
struct Pieces {
  const ModelConfig& config;
  int64_t n;      // tokens
  int64_t slots;  // of one layer

  int64_t q() const { return int64_t{config.heads} * config.head_dim; }
  int64_t kv() const { return int64_t{config.kv_heads} * config.head_dim; }
  size_t residual() const { return bytes(n, config.hidden); }
  size_t row() const { return bytes(n, 1); }
  size_t router_logits() const { return bytes(n, config.experts); }
  size_t rotated() const {
    return bytes(n, q()) + bytes(n, kv()) + bytes(n, config.heads) + bytes(n, config.kv_heads);
  }

  size_t attention_saved() const {
    return row() + bytes(n, q() + 2 * kv()) + bytes(n, q()) + bytes(n, config.heads);
  }
  size_t dense_saved() const { return row() + 2 * bytes(n, config.dense_ffn); }
  size_t moe_saved() const {
    const size_t shared = config.shared_ffn > 0 ? 2 * bytes(n, config.shared_ffn) : 0;
    return row() + shared + 2 * bytes(slots, config.expert_ffn);
  }

  size_t attention_forward() const { return residual() + rotated(); }
  size_t attention_backward() const {
    return bytes(n, q() + 2 * kv()) + std::max(bytes(n, q()) + rotated(), residual());
  }
  size_t dense_backward() const { return residual(); }
  size_t moe_backward() const { return residual() + bytes(slots, 1) + router_logits(); }
  size_t head() const {
    const int64_t rows = std::min(n, head_piece_rows(config.vocab_size));
    return 2 * bytes(rows, config.hidden) + bytes(rows, config.vocab_size);
  }
};

}  // namespace

TapePlan plan_tape(const ModelConfig& config, const ModelOptions& options, Tape::Mode mode,
                   int64_t tokens, int64_t slots) {
  const Pieces pieces{config, tokens, slots};
  const auto layers = static_cast<size_t>(config.layers);
  const auto dense = static_cast<size_t>(std::min(config.dense_layers, config.layers));
  const size_t routed = layers - dense;
  const bool training = mode == Tape::Mode::training;

  // The residual stream (in inference two that take turns), the result, and its gradient.
  TapePlan plan;
  plan.arena = ((training ? layers + 1 : 2) + 1 + (training ? 1 : 0)) * pieces.residual() +
               pieces.row() + routed * pieces.router_logits();
  const size_t again = pieces.attention_saved() + pieces.attention_forward();
  if (!training) {
    plan.scratch = std::max(again, pieces.head());
    return plan;
  }
  const size_t saved = std::max(dense > 0 ? pieces.dense_saved() : 0,  // of the largest layer
                                routed > 0 ? pieces.moe_saved() : 0);
  const size_t backward =
      std::max({pieces.attention_backward(), dense > 0 ? pieces.dense_backward() : 0,
                routed > 0 ? pieces.moe_backward() : 0});
  if (options.recompute) {
    const size_t kept = 2 * pieces.residual() + pieces.attention_saved();
    plan.scratch =
        std::max(kept + std::max(pieces.attention_forward(), saved + backward), pieces.head());
  } else {
    plan.arena += layers * (pieces.residual() + pieces.attention_saved()) +
                  dense * pieces.dense_saved() + routed * pieces.moe_saved();
    plan.scratch =
        std::max({pieces.attention_forward(), pieces.residual() + backward, pieces.head()});
  }
  return plan;
}

}  // namespace unmask
