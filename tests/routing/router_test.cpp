#include "unmask/routing/router.h"

#include "tests/routing/routing_cases.h"
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "unmask/base/arena.h"
#include "unmask/base/json_text.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/policy_json.h"
#include "unmask/routing/scaling.h"
#include "unmask/routing/token_routing.h"

namespace unmask {
namespace {

using test::Case;
using test::expert_choice;
using test::random_case;
using test::route;
using test::RoutedBatch;
using test::Selection;
using test::token_choice;
using test::Weights;

TEST(Router, AgreesWithPlainTwin) {
  for (uint64_t seed = 0; seed < 1400; ++seed) {
    const Case c = random_case(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + " " + to_text(to_json(c.policy)));
    const auto router = test::router_for(c.policy, c.experts);
    ASSERT_TRUE(router);
    const auto assignment = route(*router, c.logits, c.batch);
    const test::Map chosen = test::plain_map(c.policy, c.logits, c.batch);
    const std::vector<float> scale(c.experts + 1, c.policy.scale);
    test::Gates gates = test::plain_gates(c.policy, c.logits, chosen, scale);
    test::Map kept = chosen;
    if (c.policy.drop) {
      kept = test::plain_drop(c.policy, c.batch, chosen, gates);
      for (size_t t = 0; t < kept.size(); ++t) {
        std::vector<int32_t> dropped;
        for (int32_t e = 0; e < c.experts; ++e) {
          if (!kept[t][e]) gates[t][e] = 0;
          if (chosen[t][e] && !kept[t][e]) dropped.push_back(e);
        }
        const auto listed = assignment.decision.dropped_of(static_cast<int64_t>(t));
        ASSERT_EQ(std::vector<int32_t>(listed.begin(), listed.end()), dropped);
      }
    }
    ASSERT_TRUE(test::well_formed(assignment));
    ASSERT_EQ(test::map_of(assignment), kept);
    ASSERT_TRUE(
        test::near(test::gates_of(assignment), gates, f32_tolerance(c.experts) + 16 * kEpsilonF32));
    int64_t most = 0;
    for (size_t b = 0; b + 1 < c.batch.sequence_begin.size(); ++b) {
      const int32_t length = c.batch.sequence_begin[b + 1] - c.batch.sequence_begin[b];
      most += router->max_slots(length, length);
    }
    // Positions that start anew make more blocks than ascending ones.
    if (c.batch.position.empty()) {
      ASSERT_LE(assignment.slots(), most);
    }
  }
}

TEST(Router, SameForAnyNumberOfThreads) {
  for (uint64_t seed = 0; seed < 28; ++seed) {
    Case c = random_case(seed);
    c.batch = {};  // large enough to be cut in pieces
    for (const int32_t length : {700, 1500, 33}) c.batch.add_sequence(length);
    c.logits = random_matrix(c.batch.tokens(), c.experts, seed);
    c.policy.balance.z_loss = 0.001f;
    const auto router = test::router_for(c.policy, c.experts);
    const ThreadCount one(1);
    const auto first = route(*router, c.logits, c.batch);
    const float loss =
        router->balance(c.logits, c.batch.context(), first.decision, first, 1, {}).z_loss;
    const ThreadCount four(4);
    const auto second = route(*router, c.logits, c.batch);
    ASSERT_EQ(router->balance(c.logits, c.batch.context(), second.decision, second, 1, {}).z_loss,
              loss);
    ASSERT_EQ(first.expert_begin, second.expert_begin);
    ASSERT_EQ(first.token, second.token);
    ASSERT_EQ(first.gate, second.gate);
    ASSERT_EQ(first.decision.coreset, second.decision.coreset);
    ASSERT_EQ(first.decision.dropped_expert, second.decision.dropped_expert);
  }
}

TEST(ExpertChoice, ASequenceDoesNotSeeTheOthers) {
  const int32_t experts = 24, length = 40;
  const RoutingPolicy policy = expert_choice(Weights::softmax, 5);
  const auto router = test::router_for(policy, experts);
  const TestMatrix logits = random_matrix(3 * length, experts, 5);
  RoutedBatch batch, alone;
  for (int b = 0; b < 3; ++b) batch.add_sequence(length);
  alone.add_sequence(length);
  const Assignment together = route(*router, logits, batch);
  TestMatrix second(length, experts);
  for (int64_t t = 0; t < length; ++t) {
    std::copy_n(logits.view().row(length + t), experts, second.view().row(t));
  }
  const auto expected = test::gates_of(route(*router, second, alone));
  const auto all = test::gates_of(together);
  EXPECT_EQ(test::Gates(all.begin() + length, all.begin() + 2 * length), expected);
}

// No key of padding may push a real token out, whatever its logits.
TEST(ExpertChoice, PaddingDoesNotCompete) {
  const int32_t experts = 8;
  const RoutingPolicy policy = expert_choice(Weights::softmax, 2);
  const auto router = test::router_for(policy, experts);
  TestMatrix logits = random_matrix(30, experts, 6);
  RoutedBatch batch, shorter;
  batch.add_sequence(30);
  shorter.add_sequence(20);
  batch.padding.assign(30, 0);
  for (int t = 20; t < 30; ++t) {
    batch.padding[t] = 1;
    for (int e = 0; e < experts; ++e) logits(t, e) = 100.0f;
  }
  const Assignment padded = route(*router, logits, batch);
  TestMatrix real(20, experts);
  for (int64_t t = 0; t < 20; ++t) std::copy_n(logits.view().row(t), experts, real.view().row(t));
  const Assignment expected = route(*router, real, shorter);
  EXPECT_EQ(padded.token, expected.token);
  EXPECT_EQ(padded.gate, expected.gate);
}

TEST(TokenChoice, BiasChangesSelectionButNotWeights) {
  const int32_t experts = 16;
  for (const Weights weights : {Weights::softmax, Weights::sigmoid}) {
    const RoutingPolicy policy = token_choice(weights, experts);  // all experts: same selection
    const auto router = test::router_for(policy, experts);
    const TestMatrix logits = random_matrix(10, experts, 8);
    RoutedBatch batch;
    batch.add_sequence(10);
    const Assignment without = route(*router, logits, batch);
    batch.expert_bias.assign(experts, 3.0f);
    EXPECT_EQ(route(*router, logits, batch).gate, without.gate);
  }
  RoutedBatch batch;
  batch.add_sequence(10);
  batch.expert_bias.assign(experts, 0.0f);
  batch.expert_bias[11] = 100.0f;
  const auto router = test::router_for(token_choice(Weights::softmax, 2), experts);
  EXPECT_EQ(route(*router, random_matrix(10, experts, 8), batch).load(11), 10);
}

TEST(Router, SurvivesNonFiniteLogits) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Case c = random_case(seed);
    for (size_t i = 0; i < c.logits.flat().size(); i += 3) {
      c.logits.flat()[i] =
          std::bit_cast<float>(random_bits({seed, Purpose::synthetic}, i)[0] | 0x7f800000u);
    }
    EXPECT_TRUE(
        test::well_formed(route(*test::router_for(c.policy, c.experts), c.logits, c.batch)));
  }
}

TEST(Router, AllocatesNothingAfterTheFirstStep) {
  for (uint64_t seed = 0; seed < 70; ++seed) {
    const Case c = random_case(seed);
    const auto router = test::router_for(c.policy, c.experts);
    Assignment assignment;
    Decision decision;
    assignment.reserve(c.experts, c.batch.tokens(), int64_t{c.batch.tokens()} * c.experts);
    const auto* token = assignment.token.data();
    const auto* gate = assignment.gate.data();
    const ThreadCount one(1);
    router->select(c.logits, c.batch.context(), assignment, decision);
    router->weigh_forward(c.logits, decision, assignment);
    const size_t reserved = thread_scratch().bytes_reserved();
    router->select(c.logits, c.batch.context(), assignment, decision);
    router->weigh_forward(c.logits, decision, assignment);
    EXPECT_EQ(assignment.token.data(), token);
    EXPECT_EQ(assignment.gate.data(), gate);
    EXPECT_EQ(thread_scratch().bytes_reserved(), reserved);
  }
}

// Gradients of sum(G * gates) + balance losses with respect to the logits.
void expect_gradients(const RoutingPolicy& policy, int32_t shared_experts = 2) {
  const int32_t experts = 12;
  RoutedBatch batch;
  batch.add_sequence(9, 0.2f);
  batch.add_sequence(14, 0.9f);
  batch.padding.assign(batch.tokens(), 0);
  batch.padding[7] = batch.padding[22] = 1;
  TestMatrix logits = random_matrix(batch.tokens(), experts, 17);
  const auto router = test::router_for(policy, experts, shared_experts);
  ASSERT_TRUE(router);
  Decision decision;
  Assignment assignment;  // stays as selected at the centre: selection is not differentiable
  router->select(logits, batch.context(), assignment, decision);
  const TestMatrix g = random_matrix(1, assignment.slots(), 18);
  constexpr float kBalanceScale = 0.5f;

  TestMatrix d_logits(batch.tokens(), experts);
  router->weigh_backward(logits, decision, assignment,
                         {g.view().data, static_cast<size_t>(g.cols())}, d_logits);
  router->balance(logits, batch.context(), decision, assignment, kBalanceScale, d_logits);
  EXPECT_TRUE(gradient_matches(
      logits, d_logits,
      [&] {
        router->weigh_forward(logits, decision, assignment);
        Loss loss =
            weighted_loss(g, ConstMatrix(assignment.gate.data(), 1, std::ssize(assignment.gate)));
        const float balance =
            router->balance(logits, batch.context(), decision, assignment, 1.0f, {}).total();
        const double term = static_cast<double>(kBalanceScale * balance);
        return loss + Loss{term, term * term};
      },
      {.samples = 276}));
}

TEST(RouterGradient, Softmax) {
  expect_gradients(token_choice(Weights::softmax, 3));
  expect_gradients(expert_choice(Weights::softmax, 3));
}
TEST(RouterGradient, SoftmaxBefore) {
  RoutingPolicy policy = token_choice(Weights::softmax_before, 3);
  policy.scale = 2.5f;
  expect_gradients(policy);
  policy.renormalize = false;
  expect_gradients(policy);
}
TEST(RouterGradient, Sigmoid) {
  for (RoutingPolicy policy :
       {token_choice(Weights::sigmoid, 3), expert_choice(Weights::sigmoid, 4)}) {
    expect_gradients(policy);
    policy.renormalize = false;
    expect_gradients(policy);
  }
  RoutingPolicy grouped = token_choice(Weights::sigmoid, 3);
  grouped.groups = {.count = 4, .keep = 2};
  expect_gradients(grouped);
}
// Through the weights of all k choices, of which some have no output.
TEST(RouterGradient, DroppedChoices) {
  for (const Weights weights : {Weights::softmax, Weights::softmax_before, Weights::sigmoid}) {
    for (const bool renormalize : {true, false}) {
      RoutingPolicy policy = token_choice(weights, 4);
      policy.renormalize = renormalize;
      policy.drop = {.capacity_factor = 0.7};
      policy.balance = {.switch_loss = 1.0f, .sequence_loss = 2.0f};
      expect_gradients(policy);
    }
  }
}
TEST(RouterGradient, EveryPolicy) {
  for (const Selection selection : test::all_policies()) {
    for (const Weights weights : {Weights::softmax, Weights::sigmoid}) {
      RoutingPolicy policy = token_choice(weights, 3);
      policy.policy = selection;
      policy.block = {.size = 4, .p = 0.3, .coreset_min = 4, .pool = 5, .beta = 0.4, .k_vote = 1};
      expect_gradients(policy);
    }
  }
}
TEST(RouterGradient, MonteCarloScaling) {
  for (RoutingPolicy policy :
       {token_choice(Weights::softmax, 3), expert_choice(Weights::softmax, 3)}) {
    policy.monte_carlo = true;
    expect_gradients(policy);
  }
}
TEST(RouterGradient, BalanceLosses) {
  RoutingPolicy policy = token_choice(Weights::softmax, 3);
  policy.balance = {.switch_loss = 3.0f};
  expect_gradients(policy);
  policy.balance = {.sequence_loss = 3.0f};
  expect_gradients(policy);
  policy.balance = {.z_loss = 2.0f};
  expect_gradients(policy);
  policy.balance = {.switch_loss = 1.0f, .sequence_loss = 2.0f, .z_loss = 0.5f};
  expect_gradients(policy);
}

// The equations of docs/routing, summed plainly.
TEST(Balance, AgreesWithPlainSums) {
  RoutingPolicy policy = token_choice(Weights::softmax, 3);
  policy.balance = {.switch_loss = 0.01f, .sequence_loss = 0.02f, .z_loss = 0.001f};
  const int32_t experts = 10;
  RoutedBatch batch;
  batch.add_sequence(8);
  batch.add_sequence(5);
  batch.add_sequence(2);
  batch.padding.assign(15, 0);
  batch.padding[3] = batch.padding[13] = batch.padding[14] = 1;
  const TestMatrix logits = random_matrix(15, experts, 4);
  const auto router = test::router_for(policy, experts);
  const Assignment assignment = route(*router, logits, batch);
  const Decision decision;

  double switch_loss = 0, sequence_loss = 0, z_loss = 0;
  const auto load_loss = [&](int64_t begin, int64_t end, double& tokens) {
    std::vector<double> count(experts), p(experts);
    tokens = 0;
    for (int64_t t = begin; t < end; ++t) {
      if (batch.padded(t)) continue;
      ++tokens;
      double sum = 0;
      for (int e = 0; e < experts; ++e) sum += std::exp(static_cast<double>(logits(t, e)));
      for (int e = 0; e < experts; ++e) {
        p[e] += std::exp(static_cast<double>(logits(t, e))) / sum;
        count[e] += test::map_of(assignment)[t][e];
      }
    }
    double inner = 0;
    for (int e = 0; e < experts; ++e) inner += p[e] * count[e];
    return tokens == 0 ? 0 : experts * inner / (3 * tokens * tokens);
  };
  double tokens = 0, ignored = 0;
  switch_loss = 0.01 * load_loss(0, 15, tokens);
  // The third sequence is all padding: the mean is over the two others.
  sequence_loss = 0.02 * (load_loss(0, 8, ignored) + load_loss(8, 13, ignored)) / 2;
  for (int t = 0; t < 15; ++t) {
    if (batch.padded(t)) continue;
    double sum = 0;
    for (int e = 0; e < experts; ++e) sum += std::exp(static_cast<double>(logits(t, e)));
    z_loss += 0.001 * std::log(sum) * std::log(sum) / tokens;
  }
  const BalanceLoss loss = router->balance(logits, batch.context(), decision, assignment, 1.0f, {});
  const double tolerance = f32_tolerance(15 * experts);
  EXPECT_NEAR(loss.switch_loss, switch_loss, tolerance * switch_loss);
  EXPECT_NEAR(loss.sequence_loss, sequence_loss, tolerance * sequence_loss);
  EXPECT_NEAR(loss.z_loss, z_loss, tolerance * z_loss);
  EXPECT_NEAR(loss.total(), switch_loss + sequence_loss + z_loss, tolerance);
}

std::string refusal(const RoutingPolicy& policy, int32_t experts, int32_t shared_experts = 1) {
  const auto router = make_router(policy, experts, shared_experts);
  return router.ok() ? "" : router.error().message;
}

TEST(CheckLearns, RefusesToTrainARouterWhoseWeightsAreConstant) {
  const auto refused = [](const RoutingPolicy& policy) {
    EXPECT_EQ(refusal(policy, 8), "") << "it can be decoded with";
    const Status status = check_learns(policy);
    return !status.ok() && status.error().message.find("never learns") != std::string::npos;
  };
  RoutingPolicy policy = token_choice(Weights::softmax_before, 1);
  EXPECT_TRUE(refused(policy));
  policy.renormalize = false;
  EXPECT_FALSE(refused(policy));
  EXPECT_TRUE(refused(token_choice(Weights::softmax, 1)));
  EXPECT_FALSE(refused(token_choice(Weights::softmax, 2)));
  EXPECT_FALSE(refused(token_choice(Weights::sigmoid, 1)));
}

TEST(MakeRouter, RefusesWhatCannotBe) {
  const auto refused = [](const std::string& message, const std::string& key) {
    return message.find(key) != std::string::npos;
  };
  EXPECT_TRUE(refused(refusal(token_choice(Weights::softmax, 9), 8), "routing.experts_per_token"));
  EXPECT_TRUE(refused(refusal(token_choice(Weights::softmax, 0), 8), "routing.experts_per_token"));
  RoutingPolicy policy = token_choice(Weights::sigmoid, 4);
  policy.groups = {.count = 3, .keep = 1};
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.groups.count"));
  policy.groups = {.count = 4, .keep = 5};
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.groups.keep"));
  policy.groups = {.count = 4, .keep = 1};
  EXPECT_TRUE(refused(refusal(policy, 8), "hold fewer"));
  policy.weights = Weights::softmax;
  EXPECT_TRUE(refused(refusal(policy, 8), "sigmoid"));
  policy = token_choice(Weights::softmax, 2);
  policy.capacity = {.min = 1, .max = 2};
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.capacity"));
  policy = token_choice(Weights::softmax, 2);
  policy.drop = {.capacity_factor = 0};
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.drop.capacity_factor"));
  policy = token_choice(Weights::softmax, 2);
  policy.selection = RoutingPolicy::Group::batch;
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.selection"));
  policy = token_choice(Weights::sigmoid, 2);
  policy.balance.reference = true;
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.balance.reference"));
  policy = expert_choice(Weights::softmax, 2);
  policy.balance.bias_rate = 0.001f;
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.balance.bias_rate"));
  policy = expert_choice(Weights::softmax, 2);
  policy.drop = RoutingPolicy::Drop{};
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.drop"));
  const auto block = [&](Selection selection, RoutingPolicy::Block keys) {
    policy = token_choice(Weights::sigmoid, 2);
    policy.policy = selection;
    policy.block = keys;
    return refusal(policy, 8);
  };
  EXPECT_EQ(block(Selection::block_experts, {}), "");
  EXPECT_TRUE(refused(block(Selection::block_experts, {.size = 0}), "routing.block.size"));
  EXPECT_TRUE(refused(block(Selection::block_experts, {.p = 1.1}), "routing.block.p"));
  EXPECT_TRUE(
      refused(block(Selection::block_experts, {.coreset_min = 0}), "routing.block.coreset_min"));
  EXPECT_EQ(block(Selection::block_routing, {.pool = 2}), "");
  EXPECT_TRUE(refused(block(Selection::block_routing, {.pool = 1}), "routing.block.pool"));
  EXPECT_TRUE(refused(block(Selection::des_vote, {.beta = 0}), "routing.block.beta"));
  EXPECT_TRUE(refused(block(Selection::des_seq, {.k_vote = 3}), "routing.block.k_vote"));
  const auto shares = [&](std::optional<double> p_min, std::optional<double> p_max,
                          std::optional<RoutingPolicy::Capacity> capacity) {
    policy = expert_choice(Weights::softmax, 2);
    policy.policy = Selection::coreset_expert_choice;
    policy.capacity = capacity;
    policy.block.p_min = p_min;
    policy.block.p_max = p_max;
    return refusal(policy, 8);
  };
  const RoutingPolicy::Capacity two = {.min = 2, .max = 2};
  EXPECT_EQ(shares(0.3, 0.8, two), "");
  EXPECT_TRUE(refused(shares(0.3, {}, two), "routing.block: p_min = 0.3"));
  EXPECT_TRUE(refused(shares(0.8, 0.3, two), "0 <= p_min <= p_max <= 1"));
  EXPECT_TRUE(refused(shares(0.3, 0.8, {}), "routing.capacity"));
  policy = token_choice(Weights::softmax, 1);
  policy.policy = Selection::top_k;  // at inference nothing has to learn
  EXPECT_EQ(refusal(policy, 8), "");
  policy = token_choice(Weights::softmax, 2);
  policy.monte_carlo = true;
  EXPECT_TRUE(refused(refusal(policy, 8, 0), "routing.scale"));

  const auto linear_reverse = RoutingPolicy::Capacity::Schedule::linear_reverse;
  for (const auto& [min, max] : {std::pair{0, 4}, {2, 9}, {5, 4}}) {
    policy = expert_choice(Weights::softmax, 2);
    policy.capacity = {.schedule = linear_reverse, .min = min, .max = max};
    EXPECT_TRUE(refused(refusal(policy, 8), "routing.capacity"));
  }
  EXPECT_TRUE(refused(refusal(expert_choice(Weights::softmax_before, 2), 8), "routing.weights"));
  policy = expert_choice(Weights::sigmoid, 2);
  policy.groups = {.count = 2, .keep = 1};
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.groups"));
  policy = expert_choice(Weights::softmax, 2);
  policy.balance.switch_loss = 0.01f;
  EXPECT_TRUE(refused(refusal(policy, 8), "routing.balance"));
}

TEST(Scaling, IsAPositiveNumber) {
  RoutingPolicy policy = token_choice(Weights::softmax, 2);
  for (const float scale : {0.0f, -1.0f, 1e30f, std::numeric_limits<float>::quiet_NaN()}) {
    policy.scale = scale;
    EXPECT_FALSE(make_router(policy, 4, 0).ok()) << scale;
  }
}

// Values of arXiv 2604.01622 for two shared experts, two decimals.
TEST(Scaling, MonteCarloFactorsAreThoseOfThePaper) {
  RoutingPolicy policy = expert_choice(Weights::softmax, 8);
  policy.monte_carlo = true;
  const std::vector<float> factors = scaling_factors(policy, 64, 2);
  EXPECT_EQ(factors[0], 1.0f);
  EXPECT_FLOAT_EQ(factors[1], std::sqrt(2.0f));
  // The norm of n weights varies by about a fifth: 10,000 draws each give the mean to 0.3 %.
  for (const auto& [n, expected] : {std::pair{8, 3.03}, {20, 4.43}, {32, 5.43}, {64, 7.40}}) {
    EXPECT_NEAR(factors[n], expected, 0.01 * expected) << n;
  }
  policy = token_choice(Weights::softmax, 8);
  policy.monte_carlo = true;
  EXPECT_NEAR(scaling_factors(policy, 64, 2)[8], 3.63, 0.01 * 3.63);
  policy.experts_per_token = 32;
  EXPECT_NEAR(scaling_factors(policy, 512, 2)[32], 7.16, 0.01 * 7.16);
  EXPECT_EQ(scaling_factors(policy, 512, 2), scaling_factors(policy, 512, 2));
}

}  // namespace
}  // namespace unmask
