#include "unmask/routing/statistics.h"

#include "tests/routing/plain_router.h"
#include <set>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using test::RoutedBatch;

Spread spread_of(const std::vector<double>& values) {
  Spread s;
  for (const double v : values) s.mean += v / static_cast<double>(values.size());
  for (const double v : values) {
    s.std += (v - s.mean) * (v - s.mean) / static_cast<double>(values.size());
  }
  s.std = std::sqrt(s.std);
  s.min = *std::min_element(values.begin(), values.end());
  s.max = *std::max_element(values.begin(), values.end());
  return s;
}

void expect_spread(const Spread& actual, const Spread& expected) {
  EXPECT_NEAR(actual.mean, expected.mean, 1e-12 * (1 + std::abs(expected.mean)));
  EXPECT_NEAR(actual.std, expected.std, 1e-12 * (1 + std::abs(expected.std)));
  EXPECT_EQ(actual.min, expected.min);
  EXPECT_EQ(actual.max, expected.max);
}

// Every figure from the definition, over a routing map.
TEST(RoutingStatistics, AgreeWithTheirDefinitions) {
  const int32_t experts = 20;
  RoutingPolicy policy;
  policy.policy = RoutingPolicy::Selection::expert_choice;
  policy.experts_per_token = 1;
  policy.capacity = {
      .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 1, .max = 3};
  RoutedBatch batch;
  batch.add_sequence(45, 0.0f);
  batch.add_sequence(32, 1.0f);
  batch.add_sequence(9, 0.5f);
  batch.padding.assign(batch.tokens(), 0);
  for (int t = 77; t < 86; ++t) batch.padding[t] = 1;  // the third sequence: its block is empty
  batch.padding[44] = 1;
  for (int e = 0; e < experts; ++e) batch.expert_bias.push_back(0.1f * static_cast<float>(e % 3));
  const TestMatrix logits = random_matrix(batch.tokens(), experts, 3, 2.0f);
  const auto router = test::router_for(policy, experts);
  Assignment assignment;
  Decision decision;
  policy.block.size = 16;
  const RouteContext context = batch.context();
  router->select(logits, context, assignment, decision);
  RoutingStatistics statistics;
  measure_routing(policy, logits, decision, assignment, context, statistics);

  const test::Map map = test::map_of(assignment);
  std::vector<double> loads(experts), per_token, bias;
  double entropy = 0, without = 0;
  for (int64_t t = 0; t < batch.tokens(); ++t) {
    double count = 0, sum = 0, mean = 0;
    for (int e = 0; e < experts; ++e) {
      loads[e] += map[t][e];
      count += map[t][e];
      sum += std::exp(static_cast<double>(logits(t, e)));
    }
    if (batch.padded(t)) continue;
    per_token.push_back(count);
    without += count == 0;
    for (int e = 0; e < experts; ++e) {
      const double p = std::exp(static_cast<double>(logits(t, e))) / sum;
      mean -= p * std::log(p);
    }
    entropy += mean;
  }
  for (const float b : batch.expert_bias) bias.push_back(static_cast<double>(b));
  expect_spread(statistics.tokens_per_expert, spread_of(loads));
  expect_spread(statistics.experts_per_token, spread_of(per_token));
  ASSERT_TRUE(statistics.expert_bias.has_value());
  expect_spread(*statistics.expert_bias, spread_of(bias));
  const auto tokens = static_cast<double>(per_token.size());
  EXPECT_EQ(tokens, 76);
  EXPECT_GT(without, 0);
  EXPECT_NEAR(statistics.share_without_expert, without / tokens, 1e-12);
  EXPECT_NEAR(statistics.router_entropy, entropy / tokens, f32_tolerance(experts) * 3);
  EXPECT_EQ(statistics.share_dropped, 0);
  EXPECT_EQ(statistics.k, (std::vector<int32_t>{3, 1, 2}));
  EXPECT_EQ(statistics.unique_experts, experts);
  EXPECT_NEAR(statistics.load_variation, 0, 1e-12);  // expert choice is balanced
  EXPECT_NEAR(statistics.max_over_mean_load, 1, 1e-12);

  // Blocks of 16: three of the first sequence, two of the second.
  const std::vector<std::pair<int, int>> blocks = {{0, 16}, {16, 32}, {32, 45}, {45, 61}, {61, 77}};
  double unique = 0;
  for (const auto& [begin, end] : blocks) {
    std::set<int> used;
    for (int t = begin; t < end; ++t) {
      for (int e = 0; e < experts; ++e) {
        if (map[t][e]) used.insert(e);
      }
    }
    unique += static_cast<double>(used.size()) / 5;
  }
  EXPECT_NEAR(statistics.unique_experts_per_block, unique, 1e-12);
}

TEST(RoutingStatistics, CountCoresetsAndTheirBlocks) {
  RoutingPolicy policy;
  policy.policy = RoutingPolicy::Selection::block_experts;
  policy.experts_per_token = 2;
  policy.block = {.size = 16, .p = 0.4, .coreset_min = 3};
  RoutedBatch batch;
  batch.add_sequence(40);
  batch.add_sequence(16);
  batch.padding.assign(56, 0);
  std::fill_n(batch.padding.begin() + 40, 16, 1);  // its block has no coreset
  const TestMatrix logits = random_matrix(56, 20, 3, 2.0f);
  const auto router = test::router_for(policy, 20);
  Assignment assignment;
  Decision decision;
  router->select(logits, batch.context(), assignment, decision);
  RoutingStatistics statistics;
  measure_routing(policy, logits, decision, assignment, batch.context(), statistics);
  ASSERT_EQ(decision.blocks,
            (std::vector<RowBlock>{{0, 16, 0}, {16, 32, 0}, {32, 40, 0}, {40, 56, 1}}));
  EXPECT_EQ(decision.coreset_size[3], 0);
  const auto& size = decision.coreset_size;
  ASSERT_TRUE(statistics.coreset_size.has_value());
  expect_spread(*statistics.coreset_size,
                spread_of({double(size[0]), double(size[1]), double(size[2])}));
  EXPECT_LE(statistics.unique_experts_per_block, statistics.coreset_size->mean);
  EXPECT_EQ(statistics.k, (std::vector<int32_t>{2, 2}));
  EXPECT_TRUE(to_json(statistics).contains("coreset_size"));
}

TEST(RoutingStatistics, ShowImbalanceAndDrops) {
  RoutingPolicy policy;
  policy.experts_per_token = 2;
  RoutedBatch batch;
  batch.add_sequence(6);
  TestMatrix logits(6, 8);
  // Every token takes experts 0 and 1, and one of the twelve choices is dropped.
  Assignment assignment;
  const std::vector<int32_t> begin = {0, 2, 4, 6, 8, 10, 11},
                             chosen = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0};
  assignment.build_by_token(8, 6, begin, chosen);
  Decision decision;
  decision.dropped_begin = {0, 0, 0, 0, 0, 0, 1};
  decision.dropped_expert = {1};
  RoutingStatistics statistics;
  measure_routing(policy, logits, decision, assignment, batch.context(), statistics);
  EXPECT_EQ(statistics.load, (std::vector<int32_t>{6, 5, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(statistics.unique_experts, 2);
  EXPECT_NEAR(statistics.share_dropped, 1.0 / 12, 1e-12);
  EXPECT_NEAR(statistics.max_over_mean_load, 6 / (11.0 / 8), 1e-12);
  EXPECT_NEAR(statistics.router_entropy, std::log(8.0), 1e-6);
  EXPECT_FALSE(statistics.expert_bias.has_value());

  const nlohmann::json json = to_json(statistics);
  EXPECT_EQ(json.at("load").size(), 8u);
  EXPECT_EQ(json.at("tokens_per_expert").at("max"), 6.0);
  EXPECT_FALSE(json.contains("expert_bias"));
}

}  // namespace
}  // namespace unmask
