#include "tests/diffusion/plain_samplers.h"
#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/random.h"
#include "unmask/diffusion/sampler.h"

namespace unmask {
namespace {

constexpr int32_t kVocab = 23, kMask = 11, kBlock = 24;
const RandomKey kLogitsKey{.seed = 77, .purpose = Purpose::synthetic};

// Logits of one position at one step: some sure, some not, and alike from step to step, so that
// preferences last.
std::vector<double> logits_of(uint64_t run, int32_t step, int32_t position) {
  const float sharpness =
      0.5f + 4.0f * random_uniform(kLogitsKey, run, 1, static_cast<uint32_t>(position));
  std::vector<double> z;
  for (uint32_t v = 0; v < kVocab; ++v) {
    const auto p = static_cast<uint32_t>(position) * kVocab + v;
    const float lasting = random_normal(kLogitsKey, run, 2, p);
    const float passing = random_normal(kLogitsKey, run, 3 + static_cast<uint32_t>(step), p);
    z.push_back(sharpness * (0.9f * lasting + 0.4f * passing));
  }
  return z;
}

DenoisingStep sampler_step(const std::vector<int32_t>& positions, std::vector<float>& values,
                           int32_t quota) {
  DenoisingStep s;
  s.logits = Matrix(values.data(), static_cast<int64_t>(values.size()) / kVocab, kVocab);
  s.positions = positions;
  s.quota = quota;
  s.mask_token = kMask;
  return s;
}

class Policies : public testing::TestWithParam<std::string_view> {};

// Blocks decoded from begin to end, each step against the plain loop; what is committed, and what
// would be, are all masked positions, in order.
TEST_P(Policies, DecodesBlocksAsThePlainLoopDoes) {
  const std::string policy(GetParam());
  size_t several = 0, steps_seen = 0;
  for (uint64_t run = 0; run < 40; ++run) {
    auto sampler = make_sampler({policy});
    ASSERT_TRUE(sampler.ok());
    test::PlainCredit credit;
    std::vector<int32_t> positions;
    for (int32_t i = 0; i < kBlock; ++i) {
      if (random_uniform(kLogitsKey, run, 0, static_cast<uint32_t>(i)) < 0.8f)
        positions.push_back(64 + i);
    }
    for (int32_t step = 0; !positions.empty(); ++step, ++steps_seen) {
      ASSERT_LT(step, kBlock) << "no progress";
      test::PlainStep plain{positions, {}, 1 + static_cast<int32_t>(run % 3)};
      std::vector<float> values;
      for (const int32_t position : positions) {
        plain.logits.push_back(logits_of(run, step, position));
        values.insert(values.end(), plain.logits.back().begin(), plain.logits.back().end());
        values[values.size() - kVocab + kMask] = 30.0f;  // must not matter
        plain.logits.back()[kMask] = -std::numeric_limits<double>::infinity();
      }
      DenoisingStep s = sampler_step(positions, values, plain.quota);
      s.seed = run;
      s.step = static_cast<uint64_t>(step);
      const auto draw = [&](int32_t position) {
        return random_uniform({run, Purpose::commit_order}, s.step,
                              static_cast<uint32_t>(position));
      };
      const auto expected = test::plain_choose(policy, plain, credit, draw);
      Choice choice;
      (*sampler)->choose(s, choice);

      std::map<int32_t, int32_t> commits;
      for (const Commit& c : choice.commits) commits[c.position] = c.token;
      ASSERT_EQ(commits, expected) << policy << ", run " << run << ", step " << step;
      ASSERT_GE(choice.commits.size(), 1u);
      EXPECT_TRUE(std::ranges::is_sorted(choice.commits, {}, &Commit::position));
      EXPECT_TRUE(std::ranges::is_sorted(choice.provisional, {}, &Commit::position));
      std::vector<int32_t> all, left;
      for (const Commit& c : choice.commits) all.push_back(c.position);
      for (const Commit& c : choice.provisional) left.push_back(c.position);
      all.insert(all.end(), left.begin(), left.end());
      std::ranges::sort(all);
      EXPECT_EQ(all, positions);
      several += choice.commits.size() > 1;
      positions = left;
    }
  }
  EXPECT_GT(several, 0u);
  EXPECT_LT(several, steps_seen) << "the cases do not tell policies apart";
}

// Levenshtein editing has a plain loop of its own (levenshtein_test.cpp).
std::vector<std::string_view> committing_samplers() {
  std::vector<std::string_view> names;
  std::ranges::remove_copy(sampler_names(), std::back_inserter(names), "levenshtein");
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, Policies, testing::ValuesIn(committing_samplers()),
                         [](const auto& info) {
                           std::string name(info.param);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(EditingSampler, ReplacesWrittenTokensThatAnotherBeatsClearly) {
  // Written: token 3 where 5 has 0.95, token 3 where 5 has 0.85, token 5 where 5 has 0.95, and the
  // mask token's own logit above all.
  std::vector<float> values;
  for (const float p : {0.5f, 0.95f, 0.85f, 0.95f}) {
    for (int32_t v = 0; v < kVocab; ++v) {
      values.push_back(v == kMask ? 40.0f : std::log(v == 5 ? p : (1 - p) / (kVocab - 2)));
    }
  }
  const std::vector<int32_t> masked = {7}, written = {4, 5, 6}, tokens = {3, 3, 5};
  DenoisingStep s = sampler_step(masked, values, 1);
  s.written = written;
  s.written_tokens = tokens;
  auto sampler = make_sampler({"editing"});
  ASSERT_TRUE(sampler.ok());
  EXPECT_TRUE((*sampler)->edits());
  Choice choice;
  (*sampler)->choose(s, choice);
  ASSERT_EQ(choice.commits.size(), 1u);
  EXPECT_EQ(choice.commits[0].position, 7);
  ASSERT_EQ(choice.edits.size(), 1u);
  EXPECT_EQ(choice.edits[0].position, 4);
  EXPECT_EQ(choice.edits[0].token, 5);
  EXPECT_NEAR(choice.edits[0].confidence, 0.95f, 1e-5f);
}

}  // namespace
}  // namespace unmask
