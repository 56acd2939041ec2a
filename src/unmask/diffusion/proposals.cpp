#include "unmask/diffusion/proposals.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/base/random.h"

namespace unmask {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// -log(-log u) for every token of one row: four tokens share one counter.
class GumbelNoise {
 public:
  GumbelNoise(const DenoisingStep& step, int32_t position)
      : key_{step.seed, Purpose::sampling}, step_(step.step), position_(position) {}

  float operator()(int64_t token) {
    if (token % 4 == 0) {
      bits_ = random_bits(key_, step_, static_cast<uint32_t>(position_),
                          static_cast<uint32_t>(token / 4));
    }
    return -std::log(-std::log(to_unit_interval(bits_[token % 4])));
  }

 private:
  RandomKey key_;
  uint64_t step_;
  int32_t position_;
  std::array<uint32_t, 4> bits_{};
};

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// The least logit that top-k and top-p leave; tokens with exactly that logit are all left.
float least_drawn(std::span<const float> logits, const DenoisingStep& step) {
  const auto vocab = static_cast<int32_t>(logits.size());
  const bool by_rank = step.top_k > 0 && step.top_k < vocab;
  if (!by_rank && step.top_p >= 1.0f) return kNever;
  Arena& scratch = thread_scratch();
  const ArenaScope scope(scratch);
  float* const sorted = scratch.take<float>(vocab);
  std::copy(logits.begin(), logits.end(), sorted);
  const int32_t kept = by_rank ? step.top_k : vocab;
  std::partial_sort(sorted, sorted + kept, sorted + vocab, std::greater<>());
  if (step.top_p >= 1.0f) return sorted[kept - 1];
  const auto weight = [&](int32_t i) {
    return std::exp((double{sorted[i]} - double{sorted[0]}) / double{step.temperature});
  };
  double sum = 0, reached = 0;
  for (int32_t i = 0; i < kept; ++i) sum += weight(i);
  for (int32_t i = 0; i < kept; ++i) {
    reached += weight(i);
    if (reached >= double{step.top_p} * sum) return sorted[i];
  }
  return sorted[kept - 1];
}

int32_t sample(std::span<const float> logits, const DenoisingStep& step, int32_t position) {
  GumbelNoise noise(step, position);
  const float least = least_drawn(logits, step);
  int32_t best = 0;
  float highest = kNever;
  for (size_t token = 0; token < logits.size(); ++token) {
    const float z = logits[token] + step.temperature * noise(static_cast<int64_t>(token));
    if (logits[token] >= least && z > highest) {
      highest = z;
      best = static_cast<int32_t>(token);
    }
  }
  return best;
}

float probability(std::span<const float> logits, int32_t token) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;  // small shares of many tokens would be lost beside a 1
  for (const float z : logits) sum += double{std::exp(z - highest)};
  const auto share = static_cast<float>(double{std::exp(logits[token] - highest)} / sum);
  return std::isfinite(share) ? share : 0.0f;  // a NaN would break the order of confidences
}

std::span<float> row_without_mask(const DenoisingStep& step, int64_t row) {
  const std::span<float> logits(step.logits.row(row), static_cast<size_t>(step.logits.cols));
  logits[step.mask_token] = kNever;
  return logits;
}

void check(const DenoisingStep& step) {
  UNMASK_CHECK(step.logits.rows ==
               static_cast<int64_t>(step.positions.size() + step.written.size()));
  UNMASK_CHECK(step.written.size() == step.written_tokens.size());
  UNMASK_CHECK(step.mask_token >= 0 && step.mask_token < step.logits.cols);
}

// H = log sum e^z - sum p z
float entropy_of(std::span<const float> logits) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0, weighted = 0;
  for (const float z : logits) {
    if (z == kNever) continue;
    const double shifted = double{z} - double{highest}, weight = std::exp(shifted);
    sum += weight;
    weighted += weight * shifted;
  }
  return static_cast<float>(std::log(sum) - weighted / sum);
}

float margin_of(std::span<const float> logits) {
  float first = kNever, second = kNever;
  for (const float z : logits) {
    if (z > first) {
      second = first;
      first = z;
    } else {
      second = std::max(second, z);
    }
  }
  double sum = 0;
  for (const float z : logits) sum += std::exp(double{z} - double{first});
  return static_cast<float>((1.0 - std::exp(double{second} - double{first})) / sum);
}

}  // namespace

void propose(const DenoisingStep& step, Choice& choice) {
  check(step);
  choice.commits.clear();
  choice.edits.clear();
  choice.provisional.resize(step.positions.size());
  parallel_for(std::ssize(step.positions), [&](int64_t i) {
    const std::span<const float> logits = row_without_mask(step, i);
    const int32_t position = step.positions[i];
    const int32_t token = step.temperature > 0.0f ? sample(logits, step, position) : argmax(logits);
    choice.provisional[i] = {position, token, probability(logits, token)};
  });
}

void propose_edits(const DenoisingStep& step, std::vector<Commit>& proposals) {
  check(step);
  proposals.resize(step.written.size());
  parallel_for(std::ssize(step.written), [&](int64_t i) {
    const std::span<const float> logits = row_without_mask(step, std::ssize(step.positions) + i);
    const int32_t token = argmax(logits);
    proposals[i] = {step.written[i], token, probability(logits, token)};
  });
}

void measure_entropies(const DenoisingStep& step, std::vector<float>& entropy) {
  entropy.resize(step.positions.size());
  parallel_for(std::ssize(step.positions),
               [&](int64_t i) { entropy[i] = entropy_of(row_without_mask(step, i)); });
}

void measure_margins(const DenoisingStep& step, std::vector<float>& margin) {
  margin.resize(step.positions.size());
  parallel_for(std::ssize(step.positions),
               [&](int64_t i) { margin[i] = margin_of(row_without_mask(step, i)); });
}

void Ranking::by(std::span<const float> keys) {
  keys_.assign(keys.begin(), keys.end());
  for (float& key : keys_) {
    if (std::isnan(key)) key = kNever;
  }
  order_.resize(keys_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(),
                   [this](int32_t a, int32_t b) { return keys_[a] > keys_[b]; });
}

void Ranking::by_confidence(const Choice& choice) {
  std::vector<float> keys(choice.provisional.size());
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = choice.provisional[i].confidence;
  by(keys);
}

void Ranking::commit_first(int32_t count, Choice& choice) {
  chosen_.assign(order_.size(), 0);
  if (order_.empty()) return;
  count = std::clamp(count, 1, size());
  for (int32_t rank = 0; rank < count; ++rank) chosen_[order_[rank]] = 1;
  commit_chosen(chosen_, choice);
}

void commit_chosen(std::span<const uint8_t> chosen, Choice& choice) {
  UNMASK_CHECK(chosen.size() == choice.provisional.size());
  size_t kept = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const Commit proposal = choice.provisional[i];
    if (chosen[i]) {
      choice.commits.push_back(proposal);
    } else {
      choice.provisional[kept++] = proposal;
    }
  }
  choice.provisional.resize(kept);
}

}  // namespace unmask
