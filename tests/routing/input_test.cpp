#include "unmask/routing/input.h"

#include "tests/routing/plain_router.h"
#include <limits>

#include <gtest/gtest.h>

#include "unmask/routing/bias_update.h"

namespace unmask {
namespace {

struct Input {
  TestMatrix logits = random_matrix(6, 4, 1);
  std::vector<int32_t> begin = {0, 2, 6};
  std::vector<float> mask_ratio = {0.0f, 1.0f}, bias = {0, 0, 0, 0};
  std::vector<uint8_t> masked = std::vector<uint8_t>(6), padding = masked;
  std::vector<int32_t> position = {0, 1, 0, 1, 2, 3};

  std::string error() const {
    RouteContext context;
    context.sequence_begin = begin;
    context.mask_ratio = mask_ratio;
    context.masked = masked;
    context.padding = padding;
    context.position = position;
    context.expert_bias = bias;
    const Status status = check_routing_input(logits, context);
    return status.ok() ? "" : status.error().message;
  }
  void expect_error(const char* text) const {
    EXPECT_NE(error().find(text), std::string::npos) << error();
  }
};

TEST(RoutingInput, AcceptsWhatIsWhole) { EXPECT_EQ(Input().error(), ""); }

TEST(RoutingInput, NamesWhatIsWrong) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Input input;
    input.logits(3, 2) = value;
    input.expect_error("token 3, expert 2");
    input = {};
    input.bias[1] = value;
    input.expect_error("expert_bias");
    input = {};
    input.mask_ratio[1] = value;
    input.expect_error("mask_ratio: expected 0 to 1");
  }
  Input input;
  input.begin = {0, 2, 2, 6};
  input.expect_error("sequence 1 is empty");
  input.begin = {0, 2, 5};
  input.expect_error("sequence_begin");
  input.begin = {};
  input.expect_error("sequence_begin");
  input = {};
  input.mask_ratio = {0.5f};
  input.expect_error("mask_ratio: expected 2 values, found 1");
  input = {};
  input.padding.pop_back();
  input.expect_error("padding: expected 6 values, found 5");
  input = {};
  input.position[2] = -1;
  input.expect_error("position: expected 0 or more, found -1 at token 2");
  input = {};
  input.logits = TestMatrix(0, 4);
  input.expect_error("at least 1 token");
}

TEST(BiasUpdate, MovesAgainstTheLoad) {
  std::vector<float> bias = {0.5f, 0.5f, 0.5f, 0.5f};
  update_expert_bias(0.25f, std::vector<int64_t>{0, 2, 3, 3}, bias);  // mean 2
  EXPECT_EQ(bias, (std::vector<float>{0.75f, 0.5f, 0.25f, 0.25f}));
}

}  // namespace
}  // namespace unmask
