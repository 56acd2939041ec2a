#include "unmask/model/config.h"

#include <cmath>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "unmask/routing/capacity.h"
#include "unmask/routing/router.h"

namespace unmask {
namespace {

// Collects what is wrong, so that one message names everything.
class Problems {
 public:
  template <class T, class... Args>
  void require(bool permitted, const char* key, T value, fmt::format_string<Args...> format,
               Args&&... args) {
    if (permitted) return;
    lines_.push_back(
        fmt::format("{} = {}: {}", key, value, fmt::format(format, std::forward<Args>(args)...)));
  }
  void add(std::string line) { lines_.push_back(std::move(line)); }
  // The upper ends keep every product of sizes within 62 bits.
  void range(const char* key, int64_t value, int64_t least, int64_t most) {
    require(least <= value && value <= most, key, value, "must be from {} to {}", least, most);
  }
  Status status() const {
    if (lines_.empty()) return {};
    return usage_error("impossible model configuration: {}", fmt::join(lines_, "\n  "));
  }

 private:
  std::vector<std::string> lines_;
};

void check_sizes(const ModelConfig& c, Problems& problems) {
  problems.range("vocab_size", c.vocab_size, 1, 1 << 24);
  problems.range("layers", c.layers, 1, 1 << 10);
  problems.range("hidden", c.hidden, 1, 1 << 16);
  problems.range("heads", c.heads, 1, 1 << 10);
  problems.range("kv_heads", c.kv_heads, 1, 1 << 10);
  problems.range("head_dim", c.head_dim, 1, 1 << 10);
  problems.range("max_positions", c.max_positions, 1, 1 << 24);
  problems.range("dense_layers", c.dense_layers, 0, c.layers);
  problems.range("attention_block", c.attention_block, 0, 1 << 24);
  problems.range("dense_ffn", c.dense_ffn, c.dense_layers > 0 ? 1 : 0, 1 << 20);
}

void check_attention(const ModelConfig& c, Problems& problems) {
  if (c.heads > 0 && c.kv_heads > 0) {
    problems.require(c.heads % c.kv_heads == 0, "kv_heads", c.kv_heads,
                     "must divide heads ({}): every key and value head serves as many query heads",
                     c.heads);
  }
  problems.require(c.rope_fraction >= 0 && c.rope_fraction <= 1, "rope_fraction", c.rope_fraction,
                   "must be from 0 to 1");
  if (c.rope_fraction >= 0 && c.rope_fraction <= 1) {
    problems.require(c.rope_dims() % 2 == 0, "head_dim", c.head_dim,
                     "head_dim * rope_fraction (here {}) must be even: RoPE rotates pairs",
                     c.rope_dims());
    constexpr int64_t kMostAngles = int64_t{1} << 28;  // 1 GiB, which no weights account for
    problems.require(int64_t{c.max_positions} * c.rope_dims() <= kMostAngles, "max_positions",
                     c.max_positions,
                     "times head_dim * rope_fraction (here {}) must be at most {}: RoPE keeps a "
                     "table of that size",
                     c.rope_dims(), kMostAngles);
  }
  problems.require(std::isfinite(c.rope_theta) && c.rope_theta > 0, "rope_theta", c.rope_theta,
                   "must be positive");
}

void check_experts(const ModelConfig& c, Problems& problems) {
  if (c.dense_layers >= c.layers) return;
  problems.range("experts", c.experts, 1, kMostExperts);
  problems.range("expert_ffn", c.expert_ffn, 1, 1 << 18);
  problems.range("shared_ffn", c.shared_ffn, 0, 1 << 20);
  problems.range("shared_experts", c.shared_experts, c.shared_ffn > 0 ? 1 : 0, 1 << 10);
  problems.require(c.routing.balance.bias_rate == 0 || c.expert_bias, "routing.balance.bias_rate",
                   c.routing.balance.bias_rate,
                   "must be 0, or the model must have a selection bias: expert_bias = true");
  if (c.experts <= 0 || c.experts > kMostExperts) return;
  if (const auto router = make_router(c); !router.ok()) {
    problems.add(router.error().message);
  }
}

void check_tokens(const ModelConfig& c, Problems& problems) {
  problems.range("mask_token", c.mask_token, 0, c.vocab_size - 1);
  problems.range("end_token", c.end_token, 0, c.vocab_size - 1);
  for (const int32_t end : c.other_end_tokens) {
    problems.range("end_token", end, 0, c.vocab_size - 1);
  }
  problems.range("pad_token", c.pad_token, 0, c.vocab_size - 1);
  problems.require(!c.ends(c.mask_token), "mask_token", c.mask_token,
                   "must not be end_token, which the model has to be able to predict");
  if (c.delete_token == ModelConfig::kNoToken && c.insert_token == ModelConfig::kNoToken) return;
  for (const auto& [name, token, other] :
       {std::tuple{"delete_token", c.delete_token, c.insert_token},
        std::tuple{"insert_token", c.insert_token, c.mask_token}}) {
    problems.range(name, token, 0, c.vocab_size - 1);
    problems.require(token != c.mask_token && token != other && !c.ends(token), name, token,
                     "must be a token of its own: no mask, end or other edit token");
  }
}

void check_parameters(const ModelConfig& c, Problems& problems) {
  constexpr double kMost = 1e15;
  const auto width = [](int32_t n) { return static_cast<double>(n); };
  const double experts = width(c.experts) * c.expert_ffn + c.shared_ffn + c.dense_ffn;
  const double heads = (width(c.heads) + 2 * width(c.kv_heads)) * c.head_dim;
  const double most =
      width(c.layers) * c.hidden * (3 * experts + 2 * heads) + 2 * width(c.vocab_size) * c.hidden;
  problems.require(most < kMost, "layers", c.layers,
                   "gives {:.1e} parameters; {:.0e} are the most that can be counted", most, kMost);
}

}  // namespace

Status validate(const ModelConfig& config) {
  Problems problems;
  check_sizes(config, problems);
  check_attention(config, problems);
  check_experts(config, problems);
  check_tokens(config, problems);
  problems.require(std::isfinite(config.norm_epsilon) && config.norm_epsilon > 0, "norm_epsilon",
                   config.norm_epsilon, "must be positive");
  problems.require(config.init_std > 0 && config.init_std <= 1e6f, "init_std", config.init_std,
                   "must be above 0 and at most 1e6");
  check_parameters(config, problems);
  return problems.status();
}

Result<std::unique_ptr<Router>> make_router(const ModelConfig& c) {
  return make_router(c.routing, c.experts, c.shared_ffn > 0 ? c.shared_experts : 0);
}

}  // namespace unmask
