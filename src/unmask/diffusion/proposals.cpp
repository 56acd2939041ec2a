#include "unmask/diffusion/proposals.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/base/random.h"
#include "unmask/kernels/softmax.h"

namespace unmask {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// -log(-log u), below 17: u is at most 1 - 2^-24.
float gumbel(uint32_t bits) { return -std::log(-std::log(to_unit_interval(bits))); }

// The least of the largest values whose weights e^((z - largest) / T) reach `target`; reorders
// them.
float least_reaching(double target, std::span<float> values, float largest, float temperature) {
  double reached = 0;
  while (values.size() > 1) {
    const size_t half = values.size() / 2;
    std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(half), values.end(),
                     std::greater<>());
    const double upper = exp_sums(values.first(half), largest, 1.0f / temperature).sum;
    if (reached + upper >= target) {
      values = values.first(half);
    } else {
      reached += upper;
      values = values.subspan(half);
    }
  }
  return values.front();
}

// The least logit that top-k and top-p leave; tokens with exactly that logit are all left.
float least_drawn(std::span<const float> logits, const DenoisingStep& step, float largest) {
  const auto vocab = static_cast<int32_t>(logits.size());
  const bool by_rank = step.top_k > 0 && step.top_k < vocab;
  if (!by_rank && step.top_p >= 1.0f) return kNever;
  Arena& scratch = thread_scratch();
  const ArenaScope scope(scratch);
  if (by_rank) {
    const std::span kept(scratch.take<float>(step.top_k), static_cast<size_t>(step.top_k));
    std::ranges::partial_sort_copy(logits, kept, std::greater<>());
    if (step.top_p >= 1.0f) return kept.back();
    const double sum = exp_sums(kept, largest, 1.0f / step.temperature).sum;
    return least_reaching(double{step.top_p} * sum, kept, largest, step.temperature);
  }
  // All tokens of a weight below (1 - p) sum / vocab together have less than what top-p leaves out.
  const double sum = exp_sums(logits, largest, 1.0f / step.temperature).sum;
  const double lightest = (1.0 - double{step.top_p}) * sum / vocab;
  const auto bound = static_cast<float>(largest + step.temperature * std::log(lightest) - 1e-3);
  const std::span all(scratch.take<float>(vocab), logits.size());
  const auto end =
      std::ranges::copy_if(logits, all.begin(), [&](float z) { return z >= bound; }).out;
  const std::span<float> kept(all.begin(), end);
  if (kept.empty()) return kNever;  // of NaN, or T so small that 1 / T is infinite
  return least_reaching(double{step.top_p} * sum, kept, largest, step.temperature);
}

// Tokens are looked at sixteen together: most such groups cannot win with any noise, or not with
// the largest that one of them has, and draw none, or make none of it.
int32_t sample(std::span<const float> logits, const DenoisingStep& step, int32_t position,
               float largest) {
  constexpr size_t kTogether = 16;
  constexpr float kMostNoise = 18, kSlack = 1e-3f;  // of what two logarithms round
  const RandomKey key{step.seed, Purpose::sampling};
  const float least = least_drawn(logits, step, largest);
  int32_t best = 0;
  float highest = kNever;
  std::array<uint32_t, kTogether> bits{};
  for (size_t first = 0; first < logits.size(); first += kTogether) {
    const auto group = logits.subspan(first, std::min(kTogether, logits.size() - first));
    const float most = *std::ranges::max_element(group);
    if (most < least || most + step.temperature * kMostNoise <= highest) continue;
    for (size_t i = 0; i < group.size(); i += 4) {  // four tokens share one counter
      const auto four = random_bits(key, step.step, static_cast<uint32_t>(position),
                                    static_cast<uint32_t>((first + i) / 4));
      std::ranges::copy(four, bits.begin() + static_cast<ptrdiff_t>(i));
    }
    const uint32_t most_bits = *std::ranges::max_element(std::span(bits).first(group.size()));
    if (most + step.temperature * (gumbel(most_bits) + kSlack) <= highest) continue;
    for (size_t i = 0; i < group.size(); ++i) {
      const float z = group[i] + step.temperature * gumbel(bits[i]);
      if (group[i] >= least && z > highest) {
        highest = z;
        best = static_cast<int32_t>(first + i);
      }
    }
  }
  return best;
}

float probability(std::span<const float> logits, int64_t token, float largest) {
  const double sum = exp_sums(logits, largest).sum;
  const auto share = static_cast<float>(double{std::exp(logits[token] - largest)} / sum);
  return std::isfinite(share) ? share : 0.0f;  // a NaN would break the order of confidences
}

std::span<float> allowed_row(const DenoisingStep& step, int64_t row) {
  const std::span<float> logits(step.logits.row(row), static_cast<size_t>(step.logits.cols));
  for (const int32_t token : {step.mask_token, step.delete_token, step.insert_token}) {
    if (token >= 0) logits[token] = kNever;
  }
  return logits;
}

Commit drawn(std::span<const float> logits, const DenoisingStep& step, int32_t position) {
  const Largest largest = largest_of(logits);
  const int32_t token = step.temperature > 0.0f ? sample(logits, step, position, largest.value)
                                                : static_cast<int32_t>(largest.index);
  return {position, token, probability(logits, token, largest.value)};
}

Commit most_probable(std::span<const float> logits, int32_t position) {
  const Largest largest = largest_of(logits);
  return {position, static_cast<int32_t>(largest.index),
          probability(logits, largest.index, largest.value)};
}

void check(const DenoisingStep& step) {
  UNMASK_CHECK(step.logits.rows ==
               static_cast<int64_t>(step.positions.size() + step.written.size()));
  UNMASK_CHECK(step.written.size() == step.written_tokens.size());
  UNMASK_CHECK(step.mask_token >= 0 && step.mask_token < step.logits.cols);
}

// H = log sum e^z - sum p z
float entropy_of(std::span<const float> logits) {
  const ExpSums sums = exp_sums(logits, largest_of(logits).value);
  return static_cast<float>(std::log(sums.sum) - sums.weighted / sums.sum);
}

float margin_of(std::span<const float> logits) {
  const Largest first = largest_of(logits);
  const auto index = static_cast<size_t>(first.index);
  const float second =
      std::max(largest_of(logits.first(index)).value, largest_of(logits.subspan(index + 1)).value);
  const double sum = exp_sums(logits, first.value).sum;
  return static_cast<float>((1.0 - std::exp(double{second} - double{first.value})) / sum);
}

}  // namespace

void propose(const DenoisingStep& step, Choice& choice) {
  check(step);
  choice.clear();
  choice.provisional.resize(step.positions.size());
  parallel_for(std::ssize(step.positions), [&](int64_t i) {
    choice.provisional[i] = drawn(allowed_row(step, i), step, step.positions[i]);
  });
}

void propose_edits(const DenoisingStep& step, std::vector<Commit>& proposals) {
  check(step);
  proposals.resize(step.written.size());
  parallel_for(std::ssize(step.written), [&](int64_t i) {
    proposals[i] =
        most_probable(allowed_row(step, std::ssize(step.positions) + i), step.written[i]);
  });
}

Commit propose_at(const DenoisingStep& step, int64_t row, std::span<const int32_t> without) {
  const std::span<float> logits = allowed_row(step, row);
  std::vector<float> before;
  for (const int32_t token : without) before.push_back(std::exchange(logits[token], kNever));
  const auto masked = std::ssize(step.positions);
  const Commit other = row < masked ? drawn(logits, step, step.positions[row])
                                    : most_probable(logits, step.written[row - masked]);
  for (size_t i = 0; i < without.size(); ++i) logits[without[i]] = before[i];
  return other;
}

void measure_entropies(const DenoisingStep& step, std::vector<float>& entropy) {
  entropy.resize(step.positions.size());
  parallel_for(std::ssize(step.positions),
               [&](int64_t i) { entropy[i] = entropy_of(allowed_row(step, i)); });
}

void measure_margins(const DenoisingStep& step, std::vector<float>& margin) {
  margin.resize(step.positions.size());
  parallel_for(std::ssize(step.positions),
               [&](int64_t i) { margin[i] = margin_of(allowed_row(step, i)); });
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
