#include "unmask/diffusion/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/random.h"
#include "unmask/diffusion/canvas.h"
#include "unmask/diffusion/proposals.h"

namespace unmask {
namespace {

constexpr int32_t kFiveTokens = 5, kFifthToken = 4;

// Logits whose most probable token (mask excluded) has exactly the wanted probability, the rest
// shared equally. The mask token's own logit is far above: it must not matter.
struct Step {
  std::vector<float> values;
  std::vector<int32_t> positions;

  void add(int32_t position, int32_t token, float probability) {
    positions.push_back(position);
    for (int32_t v = 0; v < kFiveTokens; ++v) {
      const float p = v == token ? probability : (1 - probability) / 3;
      values.push_back(v == kFifthToken ? 50.0f : std::log(p));
    }
  }
  DenoisingStep step(int32_t quota) {
    DenoisingStep s;
    s.logits = Matrix(values.data(), static_cast<int64_t>(positions.size()), kFiveTokens);
    s.positions = positions;
    s.quota = quota;
    s.mask_token = kFifthToken;
    return s;
  }
};

Step five_candidates() {
  Step step;
  step.add(3, 1, 0.50f);
  step.add(5, 2, 0.97f);
  step.add(6, 0, 0.60f);
  step.add(8, 3, 0.99f);
  step.add(9, 1, 0.60f);
  return step;
}

std::vector<std::pair<int32_t, int32_t>> choose(const SamplerOptions& options, int32_t quota) {
  Step step = five_candidates();
  auto sampler = make_sampler(options);
  EXPECT_TRUE(sampler.ok());
  Choice choice;
  (*sampler)->choose(step.step(quota), choice);
  std::vector<std::pair<int32_t, int32_t>> chosen;
  for (const Commit& c : choice.commits) chosen.emplace_back(c.position, c.token);
  return chosen;
}

using Chosen = std::vector<std::pair<int32_t, int32_t>>;

TEST(Sampler, QuotaTakesTheMostConfident) {
  EXPECT_EQ(choose({"quota"}, 1), (Chosen{{8, 3}}));
  EXPECT_EQ(choose({"quota"}, 2), (Chosen{{5, 2}, {8, 3}}));
  // 6 and 9 are equally sure: the lower position goes first.
  EXPECT_EQ(choose({"quota"}, 3), (Chosen{{5, 2}, {6, 0}, {8, 3}}));
  EXPECT_EQ(choose({"quota"}, 99).size(), 5u);
  EXPECT_EQ(choose({"quota"}, 0).size(), 1u) << "a step always commits";
}

TEST(Sampler, ThresholdTakesAllAboveItAndAtLeastTheQuota) {
  EXPECT_EQ(choose({"threshold", 0.95f}, 1), (Chosen{{5, 2}, {8, 3}}));
  EXPECT_EQ(choose({"threshold", 0.55f}, 1), (Chosen{{5, 2}, {6, 0}, {8, 3}, {9, 1}}));
  EXPECT_EQ(choose({"threshold", 0.95f}, 3), (Chosen{{5, 2}, {6, 0}, {8, 3}}));
  EXPECT_EQ(choose({"threshold", 0.999f}, 1), (Chosen{{8, 3}})) << "nothing passes: the best one";
}

TEST(Sampler, ConfidenceIsTheProbabilityWithoutTheMaskToken) {
  Step step = five_candidates();
  Choice choice;
  propose(step.step(1), choice);
  const std::vector<Commit>& proposals = choice.provisional;
  const float expected[] = {0.50f, 0.97f, 0.60f, 0.99f, 0.60f};
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(proposals[i].confidence, expected[i], 2e-6f);
}

TEST(Sampler, ConfidenceIgnoresTheTemperature) {
  Step step;
  step.add(0, 1, 0.7f);
  DenoisingStep s = step.step(1);
  s.temperature = 2.0f;
  for (s.seed = 0; s.seed < 20; ++s.seed) {
    Choice choice;
    propose(s, choice);
    const std::vector<Commit>& proposals = choice.provisional;
    EXPECT_NEAR(proposals[0].confidence, proposals[0].token == 1 ? 0.7f : 0.1f, 2e-6f);
  }
}

TEST(Sampler, EqualLogitsGiveTheLowestToken) {
  Step step;
  step.add(0, 0, 0.25f);
  Choice choice;
  propose(step.step(1), choice);
  const std::vector<Commit>& proposals = choice.provisional;
  EXPECT_EQ(proposals[0].token, 0);
}

TEST(Sampler, NonFiniteLogitsStillCommitSomething) {
  Step step = five_candidates();
  for (float& z : step.values) z = std::nanf("");
  for (const std::string_view name : sampler_names()) {
    auto sampler = make_sampler({std::string(name)});
    ASSERT_TRUE(sampler.ok());
    Choice choice;
    (*sampler)->choose(step.step(2), choice);
    EXPECT_GE(choice.commits.size(), 1u) << name;
    EXPECT_EQ(choice.commits.size() + choice.provisional.size(), 5u) << name;
    for (const Commit& c : choice.commits) EXPECT_EQ(c.confidence, 0.0f) << name;
    for (const Commit& c : choice.provisional) EXPECT_EQ(c.confidence, 0.0f) << name;
  }
}

// Chi-square of token counts against softmax(z / T); 3 degrees of freedom, 0.1 % quantile 16.27.
TEST(Sampler, GumbelDrawsFollowTheTemperedSoftmax) {
  constexpr int kDraws = 8000;
  const float logits[kFiveTokens] = {0.3f, 1.4f, -0.8f, 0.0f, 9.0f};
  for (const float temperature : {0.5f, 1.0f, 1.7f}) {
    double weight[4], total = 0;
    for (int v = 0; v < 4; ++v) total += weight[v] = std::exp(logits[v] / temperature);
    int counts[kFiveTokens] = {};
    for (int draw = 0; draw < kDraws; ++draw) {
      Step step;
      step.values.assign(logits, logits + kFiveTokens);
      step.positions = {draw % 100};
      DenoisingStep s = step.step(1);
      s.temperature = temperature;
      s.seed = 5;
      s.step = static_cast<uint64_t>(draw / 100);
      Choice choice;
      propose(s, choice);
      const std::vector<Commit>& proposals = choice.provisional;
      ++counts[proposals[0].token];
    }
    EXPECT_EQ(counts[kFifthToken], 0);
    double chi_square = 0;
    for (int v = 0; v < 4; ++v) {
      const double expected = kDraws * weight[v] / total;
      chi_square += (counts[v] - expected) * (counts[v] - expected) / expected;
    }
    EXPECT_LT(chi_square, 16.27) << "temperature " << temperature;
  }
}

TEST(Sampler, QuotasSumToTheMaskedPositions) {
  for (int32_t m = 1; m < 70; ++m) {
    for (int32_t steps = 1; steps <= m; ++steps) {
      int32_t sum = 0;
      for (int32_t s = 0; s < steps; ++s) sum += quota_at(m, steps, s);
      ASSERT_EQ(sum, m) << m << " positions in " << steps << " steps";
    }
  }
  EXPECT_EQ(quota_at(10, 4, 0), 3);
  EXPECT_EQ(quota_at(10, 4, 2), 2);
  EXPECT_EQ(quota_at(3, 50, 40), 1) << "more steps than positions: still one";
}

TEST(Sampler, UnknownPolicyListsTheKnown) {
  const auto sampler = make_sampler({"quoat"});
  ASSERT_FALSE(sampler.ok());
  EXPECT_NE(sampler.error().message.find("quota, threshold"), std::string::npos);
}

TEST(Sampler, ParametersHaveRangesAndSamplersThatTakeThem) {
  const auto error_of = [](const SamplerOptions& options) {
    const auto sampler = make_sampler(options);
    EXPECT_FALSE(sampler.ok());
    return sampler.ok() ? std::string() : sampler.error().message;
  };
  EXPECT_NE(error_of({"threshold", 1.5f}).find("threshold 1.5: expected above 0 and at most 1"),
            std::string::npos);
  error_of({"threshold", 0.0f});
  error_of({"threshold", std::nanf("")});
  error_of({.policy = "factor", .factor = -1.0f});
  error_of({.policy = "credit", .credit_decay = 1.5f});
  EXPECT_NE(error_of({"quota", 0.9f}).find("threshold 0.95, threshold-max 0.9"), std::string::npos);
  EXPECT_TRUE(make_sampler({.policy = "factor", .factor = 0.0f}).ok());
}

// Only the tokens that top-k or top-p leave are drawn, in the proportions of the others' absence.
TEST(Sampler, TopKAndTopPLimitWhatIsDrawn) {
  const float logits[kFiveTokens] = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f),
                                     9};
  const auto counts = [&](int32_t top_k, float top_p, float temperature) {
    std::vector<int> n(kFiveTokens);
    for (uint64_t draw = 0; draw < 4000; ++draw) {
      Step step;
      step.values.assign(logits, logits + kFiveTokens);
      step.positions = {0};
      DenoisingStep s = step.step(1);
      s.temperature = temperature;
      s.top_k = top_k;
      s.top_p = top_p;
      s.step = draw;
      Choice choice;
      propose(s, choice);
      ++n[choice.provisional[0].token];
      EXPECT_NEAR(choice.provisional[0].confidence,
                  0.4f - 0.1f * static_cast<float>(choice.provisional[0].token), 2e-6f);
    }
    return n;
  };
  auto n = counts(2, 1.0f, 1.0f);
  EXPECT_EQ(n[2] + n[3] + n[4], 0);
  EXPECT_NEAR(n[0], 4000 * 4 / 7, 4.5 * std::sqrt(4000 * 4.0 / 7 * 3 / 7));
  n = counts(0, 0.65f, 1.0f);  // 0.4 + 0.3 reach it
  EXPECT_EQ(n[2] + n[3] + n[4], 0);
  EXPECT_GT(n[1], 0);
  n = counts(0, 0.75f, 1.0f);  // they do not
  EXPECT_GT(n[2], 0);
  EXPECT_EQ(n[3], 0);
  n = counts(0, 0.35f, 1.0f);
  EXPECT_EQ(n[0], 4000) << "at least the most probable one";
  n = counts(0, 0.65f, 2.0f);  // tempered: 0.325, 0.282, 0.230, 0.163
  EXPECT_GT(n[2], 0);
  n = counts(3, 0.65f, 1.0f);  // of the three that are left 0.444, 0.333, 0.222
  EXPECT_EQ(n[2], 0);
}

// The token of largest z + T noise among those that full sorting leaves, each with its noise.
int32_t plain_draw(std::span<const float> logits, const DenoisingStep& step) {
  std::vector<float> sorted(logits.begin(), logits.end());
  std::ranges::sort(sorted, std::greater<>());
  if (step.top_k > 0) sorted.resize(static_cast<size_t>(step.top_k));
  const auto weight = [&](float z) {
    return std::exp((double{z} - double{sorted[0]}) / double{step.temperature});
  };
  double sum = 0, reached = 0;
  for (const float z : sorted) sum += weight(z);
  size_t last = 0;
  while (last + 1 < sorted.size() && (reached += weight(sorted[last])) < step.top_p * sum) ++last;
  int32_t best = -1;
  float highest = 0;
  for (size_t token = 0; token < logits.size(); ++token) {
    if (logits[token] < sorted[last]) continue;
    const auto bits =
        random_bits({step.seed, Purpose::sampling}, step.step,
                    static_cast<uint32_t>(step.positions[0]), static_cast<uint32_t>(token / 4));
    const float noise = -std::log(-std::log(to_unit_interval(bits[token % 4])));
    const float z = logits[token] + step.temperature * noise;
    if (best < 0 || z > highest) {
      highest = z;
      best = static_cast<int32_t>(token);
    }
  }
  return best;
}

TEST(Sampler, DrawsAsThePlainLoopDoes) {
  constexpr int32_t kVocabulary = 1003;
  std::set<int32_t> drawn;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const float width = seed % 3 == 0 ? 0.1f : seed % 3 == 1 ? 1.0f : 6.0f;
    std::vector<float> logits(kVocabulary);
    for (size_t i = 0; i < logits.size(); ++i) {
      logits[i] = width * random_normal({seed, Purpose::synthetic}, i);
    }
    for (const auto& [top_k, top_p, temperature] : {std::tuple(0, 1.0f, 1.0f),
                                                    {0, 1.0f, 0.2f},
                                                    {0, 0.9f, 1.0f},
                                                    {0, 0.3f, 2.0f},
                                                    {40, 1.0f, 1.0f},
                                                    {40, 0.6f, 1.5f},
                                                    {1, 0.5f, 1.0f}}) {
      std::vector<float> values = logits;
      const std::vector<int32_t> positions = {static_cast<int32_t>(seed)};
      DenoisingStep step;
      step.logits = Matrix(values.data(), 1, kVocabulary);
      step.positions = positions;
      step.mask_token = 7;
      step.temperature = temperature;
      step.top_k = top_k;
      step.top_p = top_p;
      step.seed = seed;
      step.step = 3;
      Choice choice;
      propose(step, choice);  // takes the mask token out of `values`
      EXPECT_EQ(choice.provisional[0].token, plain_draw(values, step))
          << "seed " << seed << ", top-k " << top_k << ", top-p " << top_p;
      drawn.insert(choice.provisional[0].token);
    }
  }
  EXPECT_GT(drawn.size(), 200u);
}

TEST(Canvas, PromptMayContainTheMaskToken) {
  const int32_t prompt[] = {1, kFifthToken, 2};
  Canvas canvas = Canvas::continuation(prompt, 4, kFifthToken);
  EXPECT_EQ(canvas.size(), 7);
  EXPECT_EQ(canvas.masked_count(), 4);
  EXPECT_EQ(canvas.masked()[1], 0);
  EXPECT_EQ(canvas.tokens()[1], kFifthToken);
  EXPECT_EQ(canvas.given()[2], 1);
  EXPECT_EQ(canvas.given()[3], 0);
  canvas.commit(4, 3);
  EXPECT_EQ(canvas.masked_count(), 3);
  EXPECT_EQ(canvas.masked_count(0, 4), 1);
  EXPECT_FLOAT_EQ(canvas.mask_ratio(), 3.0f / 7.0f);
}

TEST(Canvas, InfillMasksTheGapsOnly) {
  const int32_t tokens[] = {1, 2, 3, 0};
  const uint8_t masked[] = {0, 1, 0, 1};
  const Canvas canvas = Canvas::infill(tokens, masked, kFifthToken);
  EXPECT_EQ(canvas.tokens()[1], kFifthToken);
  EXPECT_EQ(canvas.tokens()[2], 3);
  EXPECT_EQ(canvas.given()[0], 1);
  EXPECT_EQ(canvas.given()[3], 0);
}

TEST(CanvasDeathTest, CommittedPositionsStay) {
  Canvas canvas = Canvas::continuation({}, 2, kFifthToken);
  canvas.commit(0, 1);
  EXPECT_DEATH(canvas.commit(0, 2), "masked_");
}

std::vector<int32_t> positions_of(const SamplerOptions& options, Step step) {
  auto sampler = make_sampler(options);
  EXPECT_TRUE(sampler.ok());
  Choice choice;
  (*sampler)->choose(step.step(1), choice);
  std::vector<int32_t> positions;
  for (const Commit& c : choice.commits) positions.push_back(c.position);
  return positions;
}

TEST(Sampler, ThresholdsAreExceededNotMet) {
  Step even;  // every probability is 1/4 exactly
  even.add(3, 0, 0.25f);
  even.add(5, 0, 0.25f);
  EXPECT_EQ(positions_of({"threshold", 0.25f}, even), (std::vector<int32_t>{3}));
  EXPECT_EQ(
      positions_of({.policy = "hierarchical", .threshold = 0.25f, .low_threshold = 0.25f}, even),
      (std::vector<int32_t>{3}));
}

TEST(Sampler, TheFirstOfEquallySurePositionsOfARunIsItsSurest) {
  Step step;
  for (const int32_t position : {3, 4, 5}) step.add(position, 1, 0.6f);
  step.add(9, 1, 0.7f);
  EXPECT_EQ(positions_of({"hierarchical"}, step), (std::vector<int32_t>{3, 9}));
}

TEST(Sampler, ThresholdMaxTakesAllThatAreAsGoodAsTheBest) {
  Step step;
  step.add(3, 1, 0.5f);
  step.add(5, 1, 0.5f - 5e-6f);
  step.add(6, 1, 0.4999f);
  EXPECT_EQ(positions_of({"threshold-max"}, step), (std::vector<int32_t>{3, 5}));
}

// Also where another token is drawn.
TEST(Sampler, CreditGoesToThePreferredToken) {
  int drawn = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Step step;
    step.add(3, 1, 0.5f);
    const std::vector<float> before = step.values;
    auto sampler = make_sampler({"credit"});
    ASSERT_TRUE(sampler.ok());
    DenoisingStep s = step.step(1);
    s.temperature = 2.0f;
    s.seed = seed;
    Choice choice;
    (*sampler)->choose(s, choice);
    drawn += choice.commits.at(0).token != 1;
    EXPECT_GT(step.values[1], before[1]);
    for (const size_t other : {0, 2, 3}) EXPECT_EQ(step.values[other], before[other]);
  }
  EXPECT_GT(drawn, 0);
}

}  // namespace
}  // namespace unmask
