#include "unmask/kernels/experts.h"

#include "tests/kernels/skewed_assignment.h"
#include "tests/support/numeric.h"
#include <algorithm>
#include <string>
#include <vector>

#include "unmask/kernels/feed_forward.h"
#include "unmask/kernels/reference/experts.h"

namespace unmask {
namespace {

using test::Skew;

struct ExpertsCase {
  int32_t tokens, experts, per_token;
  int64_t hidden, ffn;
  Skew skew;
};

const ExpertsCase kExpertsCases[] = {
    {1, 1, 1, 16, 16, Skew::even},      {17, 4, 2, 33, 21, Skew::even},
    {40, 16, 3, 64, 48, Skew::ragged},  {300, 6, 2, 40, 70, Skew::one_hot},
    {12, 8, 2, 32, 32, Skew::empty},    {1300, 3, 2, 24, 40, Skew::one_hot},
    {30, 3, 2, 301, 345, Skew::ragged},
};

Assignment make_assignment(const ExpertsCase& c) {
  return test::skewed_assignment(c.tokens, c.experts, c.per_token, c.skew);
}

struct ExpertsLayer {
  TestMatrix gate, up, down;
  ExpertsLayer(const ExpertsCase& c, bool random)
      : gate(c.experts * c.ffn, c.hidden),
        up(c.experts * c.ffn, c.hidden),
        down(c.experts * c.hidden, c.ffn) {
    if (!random) return;
    const float scale = 1 / std::sqrt(static_cast<float>(c.hidden));
    gate = random_matrix(c.experts * c.ffn, c.hidden, 11, scale);
    up = random_matrix(c.experts * c.ffn, c.hidden, 12, scale);
    down = random_matrix(c.experts * c.hidden, c.ffn, 13, scale);
  }
  ExpertWeights weights() const { return {gate, up, down}; }
  ExpertGradients gradients() { return {gate, up, down}; }
};

struct Outcome {
  TestMatrix y, dx;
  TestMatrix d_gate;
  ExpertsLayer gradients;
  Outcome(const ExpertsCase& c, int64_t slots)
      : y(random_matrix(c.tokens, c.hidden, 20)),
        dx(random_matrix(c.tokens, c.hidden, 21)),
        d_gate(1, std::max<int64_t>(slots, 1)),
        gradients(c, false) {}
};

Outcome run(const ExpertsCase& c, Precision precision, bool reference) {
  const Assignment a = make_assignment(c);
  const ExpertsLayer layer(c, true);
  const TestMatrix x = random_matrix(c.tokens, c.hidden, 14);
  const TestMatrix dy = random_matrix(c.tokens, c.hidden, 15);
  Outcome out(c, a.slots());
  Arena tape;
  ExpertsSaved saved;
  const std::span<float> d_gate = out.d_gate.flat().first(a.slots());
  if (reference) {
    saved = {tape.matrix(a.slots(), c.ffn), tape.matrix(a.slots(), c.ffn)};
    reference::experts_forward(x, layer.weights(), a, out.y, &saved, precision);
    reference::experts_backward(x, layer.weights(), a, saved, dy, out.dx, d_gate,
                                out.gradients.gradients(), precision);
  } else {
    experts_forward(x, layer.weights(), a, out.y, &tape, &saved, precision);
    experts_backward(x, layer.weights(), a, saved, dy, out.dx, d_gate, out.gradients.gradients(),
                     precision);
  }
  return out;
}

TEST(Experts, AgreeWithTheReferenceUnderAnySkew) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const ExpertsCase& c : kExpertsCases) {
      SCOPED_TRACE(testing::Message()
                   << c.tokens << " tokens, " << c.experts << " experts, " << c.hidden << " x "
                   << c.ffn << ", skew " << static_cast<int>(c.skew));
      const Outcome ours = run(c, precision, false), plain = run(c, precision, true);
      // A value near a rounding boundary of bf16 may fall on the other side of it after the first
      // product; such a slip is one bf16 rounding of one term.
      const int64_t terms = c.hidden + c.ffn;
      const double slip = precision == Precision::bf16 ? 2 * kEpsilonBf16 : 0;
      EXPECT_TRUE(near(ours.y, plain.y, f32_tolerance(terms) + slip));
      EXPECT_TRUE(near(ours.dx, plain.dx, f32_tolerance(terms) + slip));
      EXPECT_TRUE(near(ours.d_gate, plain.d_gate, f32_tolerance(terms) + slip));
      const int64_t sums = terms + c.tokens;
      EXPECT_TRUE(near(ours.gradients.gate, plain.gradients.gate, f32_tolerance(sums) + slip));
      EXPECT_TRUE(near(ours.gradients.up, plain.gradients.up, f32_tolerance(sums) + slip));
      EXPECT_TRUE(near(ours.gradients.down, plain.gradients.down, f32_tolerance(sums) + slip));
    }
  }
}

TEST(Experts, GradientsAgreeWithFiniteDifferences) {
  const ExpertsCase c = {11, 4, 2, 18, 10, Skew::ragged};
  Assignment a = make_assignment(c);
  ExpertsLayer layer(c, true), gradients(c, false);
  TestMatrix x = random_matrix(c.tokens, c.hidden, 1);
  const TestMatrix dy = random_matrix(c.tokens, c.hidden, 2);
  TestMatrix dx(c.tokens, c.hidden), d_gate(1, a.slots());
  Arena tape;
  ExpertsSaved saved;
  TestMatrix unused(c.tokens, c.hidden);
  experts_forward(x, layer.weights(), a, unused, &tape, &saved, Precision::f32);
  experts_backward(x, layer.weights(), a, saved, dy, dx, d_gate.flat(), gradients.gradients(),
                   Precision::f32);
  const auto loss = [&] {
    TestMatrix y(c.tokens, c.hidden);
    experts_forward(x, layer.weights(), a, y, nullptr, nullptr, Precision::f32);
    return weighted_loss(dy, y);
  };
  const FiniteDifference options = {.step = 0.02};
  EXPECT_TRUE(gradient_matches(x, dx, loss, options));
  EXPECT_TRUE(gradient_matches(layer.gate, gradients.gate, loss, options));
  EXPECT_TRUE(gradient_matches(layer.up, gradients.up, loss, options));
  EXPECT_TRUE(gradient_matches(layer.down, gradients.down, loss, options));
  EXPECT_TRUE(gradient_matches(Matrix(a.gate.data(), 1, a.slots()), d_gate, loss, options));
}

TEST(Experts, WriteGradientsOverAnythingOrAddToThem) {
  for (const ExpertsCase& c : {kExpertsCases[2], kExpertsCases[4], kExpertsCases[5]}) {
    SCOPED_TRACE(testing::Message() << c.tokens << " tokens, " << c.experts << " experts");
    const Assignment a = make_assignment(c);
    const ExpertsLayer layer(c, true);
    const TestMatrix x = random_matrix(c.tokens, c.hidden, 14);
    const TestMatrix dy = random_matrix(c.tokens, c.hidden, 15);
    Arena tape;
    ExpertsSaved saved;
    TestMatrix y(c.tokens, c.hidden), dx = y, d_gate(1, a.slots());
    experts_forward(x, layer.weights(), a, y, &tape, &saved, Precision::f32);
    const auto add_to = [&](ExpertsLayer& gradients, bool add) {
      ExpertGradients into = gradients.gradients();
      into.add = add;
      experts_backward(x, layer.weights(), a, saved, dy, dx, d_gate.flat(), into, Precision::f32);
    };
    ExpertsLayer zero(c, false), written(c, true), twice(c, true);
    add_to(zero, true);
    add_to(written, false);
    add_to(twice, false);
    add_to(twice, true);
    for (TestMatrix ExpertsLayer::*m :
         {&ExpertsLayer::gate, &ExpertsLayer::up, &ExpertsLayer::down}) {
      EXPECT_EQ(zero.*m, written.*m);
      for (float& value : (zero.*m).flat()) value *= 2;
      EXPECT_TRUE(near(twice.*m, zero.*m, f32_tolerance(c.tokens)));
    }
  }
}

TEST(Experts, DoNotDependOnThreadsOrOnKeepingActivations) {
  const ExpertsCase c = {700, 5, 2, 64, 48, Skew::one_hot};
  const auto with = [&](int threads) {
    const ThreadCount scope(threads);
    return run(c, Precision::bf16, false);
  };
  const Outcome one = with(1);
  for (const int threads : {2, 7}) {
    const Outcome many = with(threads);
    EXPECT_EQ(one.y, many.y);
    EXPECT_EQ(one.dx, many.dx);
    EXPECT_EQ(one.d_gate, many.d_gate);
    EXPECT_EQ(one.gradients.gate, many.gradients.gate);
    EXPECT_EQ(one.gradients.down, many.gradients.down);
  }
  TestMatrix y = random_matrix(c.tokens, c.hidden, 20);
  const ExpertsLayer layer(c, true);
  experts_forward(random_matrix(c.tokens, c.hidden, 14), layer.weights(), make_assignment(c), y,
                  nullptr, nullptr, Precision::bf16);
  EXPECT_EQ(one.y, y);
}

TEST(Experts, GiveTheSameBitsFromWeightsThatAreRoundedAlready) {
  for (const ExpertsCase& c : kExpertsCases) {
    const Assignment a = make_assignment(c);
    const ExpertsLayer layer(c, true);
    std::vector<bf16> rounded;
    const auto round = [&](ConstMatrix m) {
      for (int64_t i = 0; i < m.size(); ++i) rounded.emplace_back(m.data[i]);
    };
    round(layer.gate), round(layer.up), round(layer.down);
    const int64_t rows = c.experts * c.ffn;
    ExpertWeights weights = layer.weights();
    weights.rounded = {{rounded.data(), rows, c.hidden},
                       {rounded.data() + rows * c.hidden, rows, c.hidden},
                       {rounded.data() + 2 * rows * c.hidden, c.experts * c.hidden, c.ffn}};
    const Outcome expected = run(c, Precision::bf16, false);
    Outcome out(c, a.slots());
    Arena tape;
    ExpertsSaved saved;
    const TestMatrix x = random_matrix(c.tokens, c.hidden, 14);
    const TestMatrix dy = random_matrix(c.tokens, c.hidden, 15);
    experts_forward(x, weights, a, out.y, &tape, &saved, Precision::bf16);
    experts_backward(x, weights, a, saved, dy, out.dx, out.d_gate.flat().first(a.slots()),
                     out.gradients.gradients(), Precision::bf16);
    EXPECT_EQ(out.y, expected.y);
    EXPECT_EQ(out.dx, expected.dx);
    EXPECT_EQ(out.gradients.gate, expected.gradients.gate);
    EXPECT_EQ(out.gradients.down, expected.gradients.down);
  }
}

TEST(FeedForward, IsOneExpertThatTakesEveryToken) {
  const ExpertsCase c = {50, 1, 1, 40, 36, Skew::even};
  Assignment a = make_assignment(c);
  std::fill(a.gate.begin(), a.gate.end(), 1.0f);
  const ExpertsLayer layer(c, true);
  ExpertsLayer expected_gradients(c, false), gradients(c, false);
  const TestMatrix x = random_matrix(c.tokens, c.hidden, 1),
                   dy = random_matrix(c.tokens, c.hidden, 2);
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    TestMatrix y = random_matrix(c.tokens, c.hidden, 3), expected_y = y;
    TestMatrix dx = random_matrix(c.tokens, c.hidden, 4), expected_dx = dx;
    Arena tape;
    ExpertsSaved experts_saved = {tape.matrix(a.slots(), c.ffn), tape.matrix(a.slots(), c.ffn)};
    reference::experts_forward(x, layer.weights(), a, expected_y, &experts_saved, precision);
    std::vector<float> d_gate(a.slots());
    reference::experts_backward(x, layer.weights(), a, experts_saved, dy, expected_dx, d_gate,
                                expected_gradients.gradients(), precision);
    FeedForwardSaved saved;
    feed_forward_forward(x, {layer.gate, layer.up, layer.down}, y, &tape, &saved, precision);
    feed_forward_backward(x, {layer.gate, layer.up, layer.down}, saved, dy, dx,
                          {gradients.gate, gradients.up, gradients.down}, precision);
    const double slip = precision == Precision::bf16 ? 2 * kEpsilonBf16 : 0;
    const double tolerance = f32_tolerance(c.hidden + c.ffn + c.tokens) + slip;
    EXPECT_TRUE(near(y, expected_y, tolerance));
    EXPECT_TRUE(near(dx, expected_dx, tolerance));
    EXPECT_TRUE(near(gradients.gate, expected_gradients.gate, tolerance));
    EXPECT_TRUE(near(gradients.up, expected_gradients.up, tolerance));
    EXPECT_TRUE(near(gradients.down, expected_gradients.down, tolerance));
  }
}

}  // namespace
}  // namespace unmask
