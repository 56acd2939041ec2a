#include "unmask/experiment/left_out_router.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(LeftOutRouter, ZeroesWeightsInTheRangeAndNoOthers) {
  RoutingPolicy policy;
  policy.experts_per_token = 2;
  auto router = make_router(policy, 4, 0);
  ASSERT_TRUE(router);
  WeightRange range{0.0f, 0.4f};
  LeftOut left_out;
  LeftOutRouter without(std::move(*router), range, left_out);

  // Weights of two experts with logits a and b: 1 / (1 + exp(b - a)) and the rest.
  std::vector<float> logits = {5, 4, 0, 0,   // 0.73, 0.27
                               0, 0, 3, 3};  // 0.5, 0.5
  const ConstMatrix matrix = {logits.data(), 2, 4};
  const std::vector<int32_t> begin = {0, 2};
  const std::vector<float> ratio = {0.5f};
  RouteContext context;
  context.sequence_begin = begin;
  context.mask_ratio = ratio;
  Assignment assignment;
  Decision decision;
  without.select(matrix, context, assignment, decision);
  without.weigh_forward(matrix, decision, assignment);

  ASSERT_EQ(assignment.slots(), 4);
  EXPECT_NEAR(assignment.gate[0], 0.7311f, 1e-4f);
  EXPECT_EQ(assignment.gate[1], 0);
  EXPECT_EQ(assignment.gate[2], 0.5f);
  EXPECT_EQ(left_out.slots, 1);
  EXPECT_EQ(left_out.tokens, 2);
  EXPECT_NEAR(left_out.weight_sum, 0.2689, 1e-4);

  range = {};
  left_out = {};
  without.weigh_forward(matrix, decision, assignment);
  EXPECT_NEAR(assignment.gate[1], 0.2689f, 1e-4f) << "an empty range leaves all";
  EXPECT_EQ(left_out.slots, 0);
}

}  // namespace
}  // namespace unmask
