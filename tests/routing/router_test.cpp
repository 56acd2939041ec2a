#include "unmask/routing/router.h"

#include "tests/routing/plain_router.h"
#include <functional>

#include <gtest/gtest.h>

#include "unmask/base/arena.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/scaling.h"

namespace unmask {
namespace {

using test::RoutedBatch;
using Selection = RoutingPolicy::Selection;
using Weights = RoutingPolicy::Weights;

RoutingPolicy token_choice(Weights weights, int32_t k) {
  return {.policy = Selection::token_choice, .experts_per_token = k, .weights = weights};
}
RoutingPolicy expert_choice(Weights weights, int32_t k) {
  return {.policy = Selection::expert_choice, .experts_per_token = k, .weights = weights};
}

struct Case {
  RoutingPolicy policy;
  int32_t experts;
  RoutedBatch batch;
  std::vector<int64_t> capacity;  // of expert choice, by sequence
  TestMatrix logits{0, 0};
};

// Logits of few different values have ties everywhere.
TestMatrix tied_logits(int64_t rows, int64_t cols, uint64_t seed) {
  TestMatrix logits(rows, cols);
  const auto ids = random_ids(rows * cols, 4, seed);
  for (int64_t i = 0; i < rows * cols; ++i) {
    logits.flat()[i] = static_cast<float>(ids[i]) - 1.5f;
  }
  return logits;
}

int32_t pick(uint64_t seed, uint32_t what, int32_t least, int32_t most) {
  return least +
         static_cast<int32_t>(random_below({seed, Purpose::synthetic},
                                           static_cast<uint64_t>(most - least + 1), what, 77));
}

// A policy, shapes, ragged sequences, padding, bias and logits by seed.
Case random_case(uint64_t seed) {
  Case c;
  c.experts = 4 * pick(seed, 0, 1, 20);
  const int32_t k = pick(seed, 1, 2, c.experts);
  const auto weights = static_cast<Weights>(pick(seed, 2, 0, 2));
  const bool expert_choice_policy = pick(seed, 3, 0, 1) == 1;
  c.policy = expert_choice_policy
                 ? expert_choice(weights == Weights::softmax_before ? Weights::softmax : weights, k)
                 : token_choice(weights, k);
  c.policy.renormalize = pick(seed, 4, 0, 1) == 1;
  c.policy.scale = pick(seed, 5, 0, 1) == 1 ? 2.5f : 1.0f;

  for (int32_t b = 0, count = pick(seed, 6, 1, 4); b < count; ++b) {
    const auto what = static_cast<uint32_t>(10 + b);
    c.batch.add_sequence(pick(seed, what, 1, 70),
                         static_cast<float>(pick(seed, what + 10, 0, 100)) / 100.0f);
  }
  if (pick(seed, 7, 0, 1) == 1) {
    c.batch.padding.resize(c.batch.tokens());
    for (int32_t t = 0; t < c.batch.tokens(); ++t) {
      c.batch.padding[t] = pick(seed, static_cast<uint32_t>(100 + t), 0, 3) == 0;
    }
  }
  if (!expert_choice_policy && pick(seed, 8, 0, 1) == 1) {
    const TestMatrix bias = random_matrix(1, c.experts, seed + 1000, 0.1f);
    for (int32_t e = 0; e < c.experts; ++e) c.batch.expert_bias.push_back(bias(0, e));
  }
  if (!expert_choice_policy && weights == Weights::sigmoid && pick(seed, 9, 0, 1) == 1) {
    const RoutingPolicy::Groups groups = {.count = 4, .keep = pick(seed, 30, 1, 4)};
    if (groups.keep * (c.experts / 4) >= k) c.policy.groups = groups;
  }
  if (expert_choice_policy && pick(seed, 31, 0, 1) == 1) {
    c.policy.capacity = {.schedule = RoutingPolicy::Capacity::Schedule::linear_reverse,
                         .min = pick(seed, 32, 1, k),
                         .max = k};
  }
  if (expert_choice_policy) {
    for (int32_t b = 0; b < c.batch.context().sequences(); ++b) {
      int64_t tokens = 0;
      for (int32_t t = c.batch.sequence_begin[b]; t < c.batch.sequence_begin[b + 1]; ++t) {
        tokens += !c.batch.padded(t);
      }
      const int64_t k_b = experts_per_token(c.policy, c.batch.mask_ratio[b]);
      c.capacity.push_back(tokens == 0 ? 0 : std::max<int64_t>(1, tokens * k_b / c.experts));
    }
  }
  // f64 and f32 round sums of bias differently: equal values are for policies without.
  const bool ties = c.batch.expert_bias.empty() && !c.policy.groups && pick(seed, 33, 0, 1) == 1;
  c.logits = ties ? tied_logits(c.batch.tokens(), c.experts, seed)
                  : random_matrix(c.batch.tokens(), c.experts, seed, 2.0f);
  return c;
}

Assignment route(Router& router, const TestMatrix& logits, const RoutedBatch& batch) {
  Assignment assignment;
  Decision decision;
  router.select(logits, batch.context(), assignment, decision);
  router.weigh_forward(logits, decision, assignment);
  return assignment;
}

test::Map plain_map(const Case& c) {
  return c.policy.policy == Selection::token_choice
             ? test::plain_token_choice(c.policy, c.logits, c.batch)
             : test::plain_expert_choice(c.logits, c.batch, c.capacity);
}

TEST(Router, AgreesWithPlainTwin) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Case c = random_case(seed);
    const auto router = test::router_for(c.policy, c.experts);
    ASSERT_TRUE(router);
    const Assignment assignment = route(*router, c.logits, c.batch);
    const test::Map expected = plain_map(c);
    ASSERT_TRUE(test::well_formed(assignment)) << "seed " << seed;
    ASSERT_EQ(test::map_of(assignment), expected) << "seed " << seed;
    const std::vector<float> scale(c.experts + 1, c.policy.scale);
    ASSERT_TRUE(test::near(test::gates_of(assignment),
                           test::plain_gates(c.policy, c.logits, expected, scale),
                           f32_tolerance(c.experts) + 16 * kEpsilonF32))
        << "seed " << seed;
    ASSERT_LE(assignment.slots(),
              [&] {
                int64_t most = 0;
                for (size_t b = 0; b + 1 < c.batch.sequence_begin.size(); ++b) {
                  const int32_t length = c.batch.sequence_begin[b + 1] - c.batch.sequence_begin[b];
                  most += router->max_slots(length, length);
                }
                return most;
              }())
        << "seed " << seed;
  }
}

TEST(Router, SameForAnyNumberOfThreads) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Case c = random_case(seed);
    c.batch = {};  // large enough to be cut in pieces
    for (const int32_t length : {700, 1500, 33}) c.batch.add_sequence(length);
    c.logits = random_matrix(c.batch.tokens(), c.experts, seed);
    c.policy.balance.z_loss = 0.001f;
    const auto router = test::router_for(c.policy, c.experts);
    const ThreadCount one(1);
    const Assignment first = route(*router, c.logits, c.batch);
    const float loss = router->balance(c.logits, c.batch.context(), Decision(), first, 1, {}).z_loss;
    const ThreadCount four(4);
    const Assignment second = route(*router, c.logits, c.batch);
    ASSERT_EQ(router->balance(c.logits, c.batch.context(), Decision(), second, 1, {}).z_loss, loss);
    ASSERT_EQ(first.expert_begin, second.expert_begin);
    ASSERT_EQ(first.token, second.token);
    ASSERT_EQ(first.gate, second.gate);
  }
}

TEST(Router, CountsAreWhatThePolicySays) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Case c = random_case(seed);
    const Assignment assignment = route(*test::router_for(c.policy, c.experts), c.logits, c.batch);
    for (int32_t t = 0; t < c.batch.tokens(); ++t) {
      const auto slots = std::ssize(assignment.slots_of(t));
      if (c.batch.padded(t)) {
        ASSERT_EQ(slots, 0) << "padding, seed " << seed;
      } else if (c.policy.policy == Selection::token_choice) {
        ASSERT_EQ(slots, c.policy.experts_per_token) << "seed " << seed;
      }
    }
    if (c.policy.policy == Selection::token_choice) continue;
    for (int32_t e = 0; e < c.experts; ++e) {
      std::vector<int64_t> taken(c.capacity.size());
      for (const int32_t t : assignment.tokens_of(e)) {
        const auto after =
            std::upper_bound(c.batch.sequence_begin.begin(), c.batch.sequence_begin.end(), t);
        ++taken[after - c.batch.sequence_begin.begin() - 1];
      }
      ASSERT_EQ(taken, c.capacity) << "seed " << seed << ", expert " << e;
    }
  }
}

TEST(Router, NormalizedWeightsSumToScale) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Case c = random_case(seed);
    c.policy.renormalize = true;
    const Assignment assignment = route(*test::router_for(c.policy, c.experts), c.logits, c.batch);
    for (int32_t t = 0; t < c.batch.tokens(); ++t) {
      double sum = 0;
      for (const int32_t s : assignment.slots_of(t)) sum += static_cast<double>(assignment.gate[s]);
      if (!assignment.slots_of(t).empty()) {
        const auto scale = static_cast<double>(c.policy.scale);
        ASSERT_NEAR(sum, scale, scale * (f32_tolerance(c.experts) + 8 * kEpsilonF32));
      }
    }
  }
}

// Renaming the experts, or reordering the tokens of a sequence, does the same to the result; for
// that no two logits may be equal.
TEST(Router, PermutingExpertsAndTokensPermutesTheResult) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Case c = random_case(seed);
    c.policy.groups.reset();  // groups are of neighbours
    c.logits = random_matrix(c.batch.tokens(), c.experts, seed, 2.0f);
    const auto router = test::router_for(c.policy, c.experts);
    const test::Map plain = test::map_of(route(*router, c.logits, c.batch));

    const auto shuffled = [&](int64_t begin, int64_t end, uint32_t what) {
      std::vector<int64_t> order(end - begin);
      std::iota(order.begin(), order.end(), begin);
      for (int64_t i = std::ssize(order) - 1; i > 0; --i) {
        std::swap(order[i], order[random_below({seed, Purpose::synthetic},
                                               static_cast<uint64_t>(i + 1), what, 99)]);
      }
      return order;
    };
    const std::vector<int64_t> experts = shuffled(0, c.experts, 1);
    std::vector<int64_t> tokens;
    for (size_t b = 0; b + 1 < c.batch.sequence_begin.size(); ++b) {
      for (const int64_t t :
           shuffled(c.batch.sequence_begin[b], c.batch.sequence_begin[b + 1], 2)) {
        tokens.push_back(t);
      }
    }
    Case permuted = c;
    for (int64_t t = 0; t < c.batch.tokens(); ++t) {
      for (int32_t e = 0; e < c.experts; ++e) {
        permuted.logits(t, e) = c.logits(tokens[t], experts[e]);
      }
      if (!c.batch.padding.empty()) permuted.batch.padding[t] = c.batch.padding[tokens[t]];
    }
    for (size_t e = 0; e < c.batch.expert_bias.size(); ++e) {
      permuted.batch.expert_bias[e] = c.batch.expert_bias[experts[e]];
    }
    const test::Map result = test::map_of(route(*router, permuted.logits, permuted.batch));
    for (int64_t t = 0; t < c.batch.tokens(); ++t) {
      for (int32_t e = 0; e < c.experts; ++e) {
        ASSERT_EQ(result[t][e], plain[tokens[t]][experts[e]]) << "seed " << seed;
      }
    }
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
  const Case c = random_case(3);
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
  router->weigh_backward(logits, decision, assignment, {g.view().data, static_cast<size_t>(g.cols())},
                         d_logits);
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

// The equations of docs/routing.md, summed plainly.
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

TEST(MakeRouter, RefusesWhatCannotBe) {
  const auto refused = [](const std::string& message, const std::string& key) {
    return message.find(key) != std::string::npos;
  };
  EXPECT_TRUE(refused(refusal(token_choice(Weights::softmax, 9), 8), "routing.experts_per_token"));
  EXPECT_TRUE(refused(refusal(token_choice(Weights::softmax, 0), 8), "routing.experts_per_token"));
  EXPECT_TRUE(refused(refusal(token_choice(Weights::softmax, 1), 8), "never learns"));
  EXPECT_TRUE(refused(refusal(token_choice(Weights::softmax_before, 1), 8), "never learns"));
  RoutingPolicy policy = token_choice(Weights::softmax_before, 1);
  policy.renormalize = false;
  EXPECT_EQ(refusal(policy, 8), "");
  EXPECT_EQ(refusal(token_choice(Weights::sigmoid, 1), 8), "");

  policy = token_choice(Weights::sigmoid, 4);
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

TEST(Capacity, FollowsTheMaskRatio) {
  RoutingPolicy policy = expert_choice(Weights::softmax, 20);
  EXPECT_EQ(experts_per_token(policy, 0.3), 20);
  policy.capacity = {
      .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 8, .max = 32};
  EXPECT_EQ(experts_per_token(policy, 0.0), 32);
  EXPECT_EQ(experts_per_token(policy, 1.0), 8);
  EXPECT_EQ(experts_per_token(policy, 0.5), 20);
  policy.capacity->min = 1;
  policy.capacity->max = 8;  // 4.5 at one half: to even
  EXPECT_EQ(experts_per_token(policy, 0.5), 4);
  EXPECT_EQ(most_experts_per_token(policy), 8);
  EXPECT_EQ(expert_capacity(100, 8, 64), 12);
  EXPECT_EQ(expert_capacity(3, 1, 64), 1);
  EXPECT_EQ(expert_capacity(0, 8, 64), 0);
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
