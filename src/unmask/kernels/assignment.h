#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace unmask {

// Which expert computes which token, and with what weight: made by a router, consumed by the
// grouped-expert kernels. A *slot* is one (expert, token) pair. Slots are sorted by expert and,
// inside an expert, by token (each at most once). Empty experts and tokens without any expert
// (dropped, or chosen by none) are legal.
struct Assignment {
  int32_t experts = 0;
  int32_t tokens = 0;
  std::vector<int32_t> expert_begin;  // [experts + 1], slots of expert e: [begin[e], begin[e+1])
  std::vector<int32_t> token;         // [slots], ascending inside an expert
  std::vector<float> gate;            // [slots], combine weight

  // The inverse, for sums over a token's experts in a fixed order (ascending expert).
  std::vector<int32_t> token_begin;  // [tokens + 1]
  std::vector<int32_t> token_slot;   // [slots], slots of token t: token_slot[begin[t]..begin[t+1])

  int64_t slots() const { return static_cast<int64_t>(token.size()); }
  int32_t load(int32_t expert) const { return expert_begin[expert + 1] - expert_begin[expert]; }
  int32_t used_experts() const {
    int32_t used = 0;
    for (int32_t e = 0; e < experts; ++e) used += load(e) > 0;
    return used;
  }
  std::span<const int32_t> tokens_of(int32_t expert) const {
    return std::span(token).subspan(expert_begin[expert], load(expert));
  }
  std::span<const int32_t> slots_of(int32_t t) const {
    return std::span(token_slot).subspan(token_begin[t], token_begin[t + 1] - token_begin[t]);
  }

  // Room for `slots` slots, so that rebuilding up to that many allocates nothing.
  void reserve(int32_t experts, int32_t tokens, int64_t slots);

  // From a map in token-major form: token t uses the experts chosen[chosen_begin[t]..[t+1]), in
  // any order. Gates are left zero.
  void build_by_token(int32_t experts, int32_t tokens, std::span<const int32_t> chosen_begin,
                      std::span<const int32_t> chosen);

  // From slots already sorted by expert and token: `expert_begin` and `token` are set; makes the
  // inverse and zeroes the gates.
  void finish();
};

}  // namespace unmask
