#include "unmask/diffusion/credit.h"

#include <algorithm>
#include <cmath>

namespace unmask {

void Credit::decay(float factor) {
  for (auto& [position, tokens] : credit_) {
    for (auto& [token, amount] : tokens) amount *= factor;
  }
}

void Credit::add(int32_t position, int32_t token, float amount) {
  auto& tokens = credit_[position];
  const auto found = std::ranges::find(tokens, token, &std::pair<int32_t, float>::first);
  if (found == tokens.end()) {
    tokens.emplace_back(token, amount);
  } else {
    found->second += amount;
  }
}

void Credit::raise(int32_t position, float weight, std::span<float> logits) const {
  const auto found = credit_.find(position);
  if (found == credit_.end()) return;
  for (const auto& [token, amount] : found->second) logits[token] += weight * std::log1p(amount);
}

void Credit::forget(int32_t position) { credit_.erase(position); }

}  // namespace unmask
