#include "tests/support/golden.h"

#include "tests/routing/plain_router.h"
#include <cmath>
#include <iostream>
#include <set>

#include <gtest/gtest.h>

#include "unmask/routing/capacity.h"
#include "unmask/routing/router.h"
#include "unmask/routing/scaling.h"

// Selections, weights and gradients of the papers' public code. A recording holds variants of one
// computation; those that no policy of ours describes are counted, not compared.
namespace unmask {
namespace {

using test::GoldenCase;
using test::RoutedBatch;
using Selection = RoutingPolicy::Selection;
using Weights = RoutingPolicy::Weights;

// Recorded results are within 1e-6 of f64 (README of the recordings), ours within a few roundings
// of sums of this many terms.
double tolerance(int64_t terms) { return 1e-6 + f32_tolerance(terms) + 16 * kEpsilonF32; }

struct Tally {
  std::string kind;
  int cases = 0, compared = 0, others = 0;
  explicit Tally(std::string name) : kind(std::move(name)) {}
  ~Tally() {
    std::cout << "golden " << kind << ": " << cases << " cases, " << compared
              << " variants compared, " << others << " of policies that do not exist\n";
    EXPECT_GT(compared, 0) << kind;
  }
};

// The batches of EC-DLM are sequence-major, row s * B + b, ours are one sequence after the other.
struct Rows {
  int64_t batch = 1, length = 1;
  bool sequence_major = false;
  int64_t recorded(int64_t ours) const {
    return sequence_major ? ours % length * batch + ours / length : ours;
  }
  int64_t count() const { return batch * length; }
};

Rows rows_of(const nlohmann::json& config) {
  if (config.contains("seq_length")) return {config.at("bsz"), config.at("seq_length"), true};
  return {config.at("bsz"), config.at("seq_len"), false};
}

TestMatrix matrix(const GoldenCase& golden, const std::string& name, Rows rows) {
  const auto tensor = golden.f32(name);
  const int64_t cols = std::ssize(tensor.values) / rows.count();
  TestMatrix result(rows.count(), cols);
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t e = 0; e < cols; ++e) result(t, e) = tensor.values[rows.recorded(t) * cols + e];
  }
  return result;
}

test::Map routing_map(const GoldenCase& golden, const std::string& name, Rows rows) {
  const auto tensor = golden.i64(name);
  const int64_t cols = std::ssize(tensor.values) / rows.count();
  test::Map map = test::empty_map(rows.count(), cols);
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t e = 0; e < cols; ++e) map[t][e] = tensor.values[rows.recorded(t) * cols + e] != 0;
  }
  return map;
}

test::Gates doubles(const TestMatrix& matrix) {
  test::Gates gates(matrix.rows(), std::vector<double>(matrix.cols()));
  for (int64_t t = 0; t < matrix.rows(); ++t) {
    for (int64_t e = 0; e < matrix.cols(); ++e) gates[t][e] = static_cast<double>(matrix(t, e));
  }
  return gates;
}

// The values of the routed pairs, in the order of the slots.
std::vector<float> by_slot(const TestMatrix& g, const Assignment& assignment) {
  std::vector<float> values;
  for (int32_t e = 0; e < assignment.experts; ++e) {
    for (const int32_t t : assignment.tokens_of(e)) values.push_back(g(t, e));
  }
  return values;
}

RoutedBatch batch_of(Rows rows) {
  RoutedBatch batch;
  for (int64_t b = 0; b < rows.batch; ++b) batch.add_sequence(static_cast<int32_t>(rows.length));
  return batch;
}

// A policy with the mask ratios that make it give every sequence its recorded k.
void give_each_its_k(RoutingPolicy& policy, RoutedBatch& batch, const std::vector<int64_t>& k,
                     int32_t experts) {
  policy.capacity = {
      .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 1, .max = experts};
  for (size_t b = 0; b < k.size(); ++b) {
    batch.mask_ratio[b] = 1.0f - static_cast<float>(k[b] - 1) / static_cast<float>(experts - 1);
    ASSERT_EQ(experts_per_token(policy, batch.mask_ratio[b]), k[b]);
  }
}

// One variant: its policy, where its tensors are, and the recorded scaling factors by number of
// experts (draws of another generator: ours agree within the noise of both).
struct Variant {
  RoutingPolicy policy;
  std::string name;
  std::vector<float> factors;
};

bool flag(const nlohmann::json& variant, const char* key) { return variant.value(key, false); }

std::vector<float> recorded_factors(const GoldenCase& golden, const nlohmann::json& variant,
                                    bool expert_choice, int32_t experts) {
  if (!flag(variant, "scaled")) return {};
  if (expert_choice) return golden.f32("ec_scaling_factors").values;
  const auto factor =
      golden.f32("tc_scaling_factor." + variant.at("act").get<std::string>()).values.at(0);
  return std::vector<float>(experts + 1, factor);
}

Variant expert_choice_variant(const GoldenCase& golden, const nlohmann::json& variant) {
  const std::string act = variant.at("act");
  Variant result;
  result.policy.policy = Selection::expert_choice;
  result.policy.weights = act == "softmax" ? Weights::softmax : Weights::sigmoid;
  result.name = std::string("seq.") + (flag(variant, "dyn") ? "dyn." : "static.") + act;
  if (flag(variant, "scaled")) result.name += ".scaled";
  result.factors = recorded_factors(golden, variant, true, golden.config().at("num_experts"));
  return result;
}

Variant token_choice_variant(const GoldenCase& golden, const nlohmann::json& variant) {
  const std::string act = variant.at("act");
  Variant result;
  result.policy.weights = act == "softmax" ? Weights::softmax : Weights::sigmoid;
  result.name = act + ".nocap";
  if (flag(variant, "pre")) {
    result.policy.weights = Weights::softmax_before;
    result.policy.renormalize = false;
    result.name = "pre." + result.name;
  }
  if (variant.contains("rsf")) {
    result.policy.scale = variant.at("rsf");
    result.name += ".rsf" + variant.at("rsf").dump();
  }
  if (flag(variant, "scaled")) result.name += ".scaled";
  result.factors = recorded_factors(golden, variant, false, golden.config().at("num_experts"));
  return result;
}

// Per token, what turns our scaling into the recorded one; 1 without scaling.
std::vector<double> rescale(const Variant& variant, const Assignment& assignment, int32_t shared) {
  std::vector<double> factor(assignment.tokens, 1.0);
  if (variant.factors.empty()) return factor;
  const auto ours = scaling_factors(variant.policy, assignment.experts, shared);
  for (int32_t t = 0; t < assignment.tokens; ++t) {
    const auto n = assignment.slots_of(t).size();
    factor[t] = static_cast<double>(variant.factors[n]) / static_cast<double>(ours[n]);
    // 10,000 draws each; one draw is within a fifth of the mean.
    EXPECT_NEAR(factor[t], 1.0, 6 * std::sqrt(2.0) * 0.2 / 100) << n << " experts";
  }
  return factor;
}

test::Gates scaled(test::Gates gates, const std::vector<double>& factor) {
  for (size_t t = 0; t < gates.size(); ++t) {
    for (double& gate : gates[t]) gate *= factor[t];
  }
  return gates;
}

void compare_variant(const GoldenCase& golden, Variant variant, const std::string& prefix,
                     bool dynamic) {
  const auto& config = golden.config();
  const std::string name = prefix + variant.name;
  SCOPED_TRACE(golden.name() + " " + name);
  const Rows rows = rows_of(config);
  const int32_t experts = config.at("num_experts"), shared = config.at("num_shared");
  const TestMatrix logits = matrix(golden, "logits", rows);
  RoutedBatch batch = batch_of(rows);
  variant.policy.experts_per_token = config.at("topk");
  variant.policy.monte_carlo = !variant.factors.empty();
  if (dynamic) {
    give_each_its_k(variant.policy, batch, golden.i64("dynamic_topk").values, experts);
  }

  const auto router = test::router_for(variant.policy, experts, shared);
  ASSERT_TRUE(router);
  Assignment assignment;
  router->select(logits, batch.context(), assignment);
  router->weigh_forward(logits, assignment);
  ASSERT_EQ(test::map_of(assignment), routing_map(golden, name + ".routing_map", rows));
  const auto factor = rescale(variant, assignment, shared);
  EXPECT_TRUE(test::near(scaled(test::gates_of(assignment), factor),
                         doubles(matrix(golden, name + ".probs", rows)), tolerance(experts)));
  if (!golden.has(name + ".grad_logits")) return;

  const TestMatrix g = matrix(golden, "G", rows);
  const auto d_gate = by_slot(g, assignment);
  TestMatrix d_logits(rows.count(), experts);
  router->weigh_backward(logits, assignment, d_gate, d_logits);
  EXPECT_TRUE(test::near(scaled(doubles(d_logits), factor),
                         doubles(matrix(golden, name + ".grad_logits", rows)), tolerance(experts)));
}

TEST(Golden, ExpertChoice) {
  Tally tally("ec_route");
  for (const GoldenCase& golden : test::golden_cases("ec_route")) {
    ++tally.cases;
    for (const auto& variant : golden.config().at("variants")) {
      if (flag(variant, "pre") || flag(variant, "batch")) {
        ++tally.others;
        continue;
      }
      compare_variant(golden, expert_choice_variant(golden, variant), "", flag(variant, "dyn"));
      ++tally.compared;
    }
  }
}

TEST(Golden, TokenChoice) {
  Tally tally("tc_route");
  for (const GoldenCase& golden : test::golden_cases("tc_route")) {
    ++tally.cases;
    for (const auto& variant : golden.config().at("variants")) {
      if (!variant.at("cap").is_null()) {
        ++tally.others;
        continue;
      }
      compare_variant(golden, token_choice_variant(golden, variant), "", false);
      ++tally.compared;
    }
  }
}

TEST(Golden, GradientsThroughWeights) {
  Tally tally("route_grad");
  for (const GoldenCase& golden : test::golden_cases("route_grad")) {
    ++tally.cases;
    for (const auto& variant : golden.config().at("variants")) {
      const bool token_choice = variant.at("route") == "tc";
      if (flag(variant, "batch") || (token_choice && !variant.at("cap").is_null())) {
        ++tally.others;
        continue;
      }
      if (token_choice) {
        compare_variant(golden, token_choice_variant(golden, variant), "tc.", false);
      } else {
        compare_variant(golden, expert_choice_variant(golden, variant), "ec.",
                        flag(variant, "dyn"));
      }
      ++tally.compared;
    }
  }
}

// LLaDA2's gate: its policy, router and selection for a recording.
struct Gate {
  explicit Gate(const GoldenCase& golden)
      : rows(rows_of(golden.config())),
        logits(matrix(golden, "logits", rows)),
        batch(batch_of(rows)) {
    const auto& config = golden.config();
    policy.experts_per_token = config.at("top_k");
    policy.weights = Weights::sigmoid;
    policy.scale = config.at("routed_scaling_factor");
    policy.groups = {.count = config.at("n_group"), .keep = config.at("topk_group")};
    batch.expert_bias = golden.f32("expert_bias").values;
    router = test::router_for(policy, config.at("num_experts"));
    router->select(logits, batch.context(), assignment);
    router->weigh_forward(logits, assignment);
  }

  void compare_weights(const GoldenCase& golden) const {
    const auto index = golden.i64("original.topk_idx").values;
    const TestMatrix weight = matrix(golden, "original.topk_weight", rows);
    test::Map map = test::empty_map(rows.count(), logits.cols());
    test::Gates gates(rows.count(), std::vector<double>(logits.cols()));
    for (int64_t t = 0; t < rows.count(); ++t) {
      for (int64_t i = 0; i < weight.cols(); ++i) {
        const int64_t e = index[rows.recorded(t) * weight.cols() + i];
        map[t][e] = true;
        gates[t][e] = static_cast<double>(weight(t, i));
      }
    }
    EXPECT_EQ(test::map_of(assignment), map);
    EXPECT_TRUE(test::near(test::gates_of(assignment), gates, tolerance(weight.cols())));
  }

  RoutingPolicy policy;
  Rows rows;
  TestMatrix logits;
  RoutedBatch batch;
  std::unique_ptr<Router> router;
  Assignment assignment;
};

TEST(Golden, Gate) {
  Tally tally("gate");
  for (const GoldenCase& golden : test::golden_cases("gate")) {
    SCOPED_TRACE(golden.name());
    ++tally.cases;
    Gate(golden).compare_weights(golden);
    ++tally.compared;
    std::set<std::string> others;  // be.p0.6, train.p0.9 …
    for (const std::string name : golden.description().at("outputs")) {
      if (name.ends_with(".topk_idx") && !name.starts_with("original.")) others.insert(name);
    }
    tally.others += static_cast<int>(others.size());
  }
}

TEST(Golden, GateGradients) {
  Tally tally("gate_grad");
  for (const GoldenCase& golden : test::golden_cases("gate_grad")) {
    SCOPED_TRACE(golden.name());
    ++tally.cases;
    const Gate gate(golden);
    gate.compare_weights(golden);
    const TestMatrix g = matrix(golden, "G", gate.rows);
    const auto d_gate = by_slot(g, gate.assignment);
    TestMatrix d_logits(gate.rows.count(), gate.logits.cols());
    gate.router->weigh_backward(gate.logits, gate.assignment, d_gate, d_logits);
    EXPECT_TRUE(test::near(doubles(d_logits),
                           doubles(matrix(golden, "original.grad_logits", gate.rows)),
                           tolerance(gate.policy.experts_per_token)));
    ++tally.compared;
    tally.others += 2;  // be, train
  }
}

TEST(Golden, Schedules) {
  Tally tally("schedulers");
  for (const GoldenCase& golden : test::golden_cases("schedulers")) {
    ++tally.cases;
    const auto ratios = golden.f32("mask_ratio").values;
    const auto& near_half = golden.description().at("values").at("near_half");
    for (const auto& schedule : golden.config().at("schedulers")) {
      if (schedule != "linear_reverse") {
        ++tally.others;
        continue;
      }
      for (const auto& bounds : golden.config().at("min_max")) {
        RoutingPolicy policy;
        policy.capacity = {.schedule = RoutingPolicy::Capacity::Schedule::linear_reverse,
                           .min = bounds[0],
                           .max = bounds[1]};
        const std::string name =
            schedule.get<std::string>() + ".min" + bounds[0].dump() + "_max" + bounds[1].dump();
        std::set<size_t> undecided;
        if (near_half.contains(name)) undecided = near_half.at(name).get<std::set<size_t>>();
        const auto expected = golden.i64(name).values;
        for (size_t i = 0; i < ratios.size(); ++i) {
          if (undecided.contains(i)) continue;
          EXPECT_EQ(experts_per_token(policy, ratios[i]), expected[i]) << name << " at " << i;
        }
        ++tally.compared;
      }
    }
  }
}

TEST(Golden, BalanceLosses) {
  Tally tally("losses");
  for (const GoldenCase& golden : test::golden_cases("losses")) {
    SCOPED_TRACE(golden.name());
    ++tally.cases;
    const auto& config = golden.config();
    const Rows rows = rows_of(config);
    const int32_t experts = config.at("num_experts");
    const TestMatrix logits = matrix(golden, "logits", rows);
    const RoutedBatch batch = batch_of(rows);
    const auto compare = [&](const std::string& name, RoutingPolicy::Balance balance,
                             float BalanceLoss::*value) {
      SCOPED_TRACE(name);
      RoutingPolicy policy;
      policy.experts_per_token = config.at("topk");
      policy.balance = balance;
      const auto router = test::router_for(policy, experts);
      Assignment assignment;
      router->select(logits, batch.context(), assignment);
      EXPECT_EQ(test::map_of(assignment), routing_map(golden, "tc.routing_map", rows));
      TestMatrix d_logits(rows.count(), experts);
      const BalanceLoss loss = router->balance(logits, batch.context(), assignment, 1.0f, d_logits);
      const float expected = golden.f32(name + ".value").values.at(0);
      EXPECT_NEAR(loss.*value, expected, tolerance(experts) * static_cast<double>(expected));
      // Gradients are far below 1: relative to the largest of them.
      EXPECT_TRUE(near(d_logits, matrix(golden, name + ".grad_logits", rows), tolerance(experts)));
      ++tally.compared;
    };
    const float aux = config.at("aux_coeff");
    compare("switch_lb", {.switch_loss = aux}, &BalanceLoss::switch_loss);
    compare("seq_lb", {.sequence_loss = aux}, &BalanceLoss::sequence_loss);
    compare("z_loss", {.z_loss = config.at("z_coeff")}, &BalanceLoss::z_loss);
    ++tally.others;  // the loss that the public code adds to expert choice
  }
}

TEST(Golden, RouterWithLosses) {
  Tally tally("router");
  for (const GoldenCase& golden : test::golden_cases("router")) {
    ++tally.cases;
    const auto& config = golden.config();
    const Rows rows = rows_of(config);
    const int32_t experts = config.at("num_experts");
    const TestMatrix logits = matrix(golden, "logits", rows), g = matrix(golden, "G", rows);
    for (const auto& variant : config.at("variants")) {
      const std::string name = variant.at("name");
      SCOPED_TRACE(golden.name() + " " + name);
      RoutingPolicy policy;
      policy.experts_per_token = config.at("topk");
      RoutedBatch batch = batch_of(rows);
      const bool token_choice = variant.at("router") == "tc";
      if (token_choice) {
        policy.balance.z_loss = config.at("z_coeff");
        if (variant.at("type") == "aux_loss") policy.balance.switch_loss = config.at("aux_coeff");
      } else {
        policy.policy = Selection::expert_choice;
        if (flag(variant, "dyn")) {
          give_each_its_k(policy, batch, golden.i64("dynamic_topk").values, experts);
        }
      }
      const auto router = test::router_for(policy, experts);
      Assignment assignment;
      router->select(logits, batch.context(), assignment);
      router->weigh_forward(logits, assignment);
      EXPECT_EQ(test::map_of(assignment), routing_map(golden, name + ".routing_map", rows));
      EXPECT_TRUE(test::near(test::gates_of(assignment),
                             doubles(matrix(golden, name + ".probs", rows)), tolerance(experts)));
      if (!token_choice) {
        ++tally.others;  // the recorded gradient holds a loss that ours does not have
        continue;
      }
      const auto d_gate = by_slot(g, assignment);
      TestMatrix d_logits(rows.count(), experts);
      router->weigh_backward(logits, assignment, d_gate, d_logits);
      router->balance(logits, batch.context(), assignment, 1.0f, d_logits);
      EXPECT_TRUE(test::near(doubles(d_logits),
                             doubles(matrix(golden, name + ".grad_logits", rows)),
                             tolerance(experts)));
      ++tally.compared;
    }
  }
}

}  // namespace
}  // namespace unmask
