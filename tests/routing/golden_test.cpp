#include "tests/routing/golden_routing.h"
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "unmask/base/json_text.h"
#include "unmask/routing/bias_update.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/router.h"
#include "unmask/routing/scaling.h"

// Selections, weights and gradients of EC-DLM's public code. A recording holds variants of one
// computation.
namespace unmask {
namespace {

using test::batch_of;
using test::by_slot;
using test::doubles;
using test::GoldenCase;
using test::matrix;
using test::RoutedBatch;
using test::routing_map;
using test::Rows;
using test::rows_of;
using test::Tally;
using test::tolerance;
using Selection = RoutingPolicy::Selection;
using Weights = RoutingPolicy::Weights;

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
  std::vector<float> factors = {};
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
  const bool batch = flag(variant, "batch");
  Variant result;
  result.policy.policy = Selection::expert_choice;
  result.policy.selection = batch ? RoutingPolicy::Group::batch : RoutingPolicy::Group::sequence;
  result.policy.weights = act == "softmax" ? Weights::softmax : Weights::sigmoid;
  result.name =
      std::string(batch ? "batch." : "seq.") + (flag(variant, "dyn") ? "dyn." : "static.") + act;
  if (flag(variant, "scaled")) result.name += ".scaled";
  result.factors = recorded_factors(golden, variant, true, golden.config().at("num_experts"));
  return result;
}

Variant token_choice_variant(const GoldenCase& golden, const nlohmann::json& variant) {
  const std::string act = variant.at("act");
  Variant result;
  result.policy.weights = act == "softmax" ? Weights::softmax : Weights::sigmoid;
  result.name = act;
  if (flag(variant, "pre")) {
    result.policy.weights = Weights::softmax_before;
    result.policy.renormalize = false;
    result.name = "pre." + result.name;
  }
  if (variant.at("cap").is_null()) {
    result.name += ".nocap";
  } else {
    using Keep = RoutingPolicy::Drop::Keep;
    const std::string drop = variant.at("drop");
    result.policy.drop = {.capacity_factor = variant.at("cap"),
                          .policy = drop == "probs" ? Keep::probs : Keep::position};
    result.name += ".cap" + to_text(variant.at("cap")) + "." + drop;
  }
  if (variant.contains("rsf")) {
    result.policy.scale = variant.at("rsf");
    result.name += ".rsf" + to_text(variant.at("rsf"));
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
    if (n == 0) continue;
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

std::vector<int64_t> loads_of(const test::Map& map) {
  std::vector<int64_t> loads(map.front().size());
  for (const auto& row : map) {
    for (size_t e = 0; e < row.size(); ++e) loads[e] += row[e];
  }
  return loads;
}

void compare_variant(const GoldenCase& golden, Variant variant, const std::string& prefix,
                     bool dynamic) {
  const auto& config = golden.config();
  std::string name = prefix + variant.name;
  SCOPED_TRACE(golden.name() + " " + name);
  const Rows rows = rows_of(config);
  const int32_t experts = config.at("num_experts"), shared = config.at("num_shared");
  const TestMatrix logits = matrix(golden, "logits", rows);
  RoutedBatch batch = batch_of(rows);
  variant.policy.experts_per_token = config.at("topk");
  variant.policy.monte_carlo = !variant.factors.empty();
  if (dynamic) {
    auto k = golden.i64("dynamic_topk").values;
    if (variant.policy.selection == RoutingPolicy::Group::batch) {
      // The public code gives the batch the largest k of its sequences; ours the k of its mean mask
      // ratio, which is the same where all have that ratio.
      std::fill(k.begin(), k.end(), *std::max_element(k.begin(), k.end()));
    }
    give_each_its_k(variant.policy, batch, k, experts);
  }

  const auto router = test::router_for(variant.policy, experts, shared);
  ASSERT_TRUE(router);
  Assignment assignment;
  Decision decision;
  router->select(logits, batch.context(), assignment, decision);
  router->weigh_forward(logits, decision, assignment);
  if (golden.has(name + ".stable.routing_map")) {
    // The public code asks torch.topk for the largest of equal numbers: only the counts of what it
    // answers mean anything. `stable` is the same with the first of equals first.
    const test::Map raw = routing_map(golden, name + ".routing_map", rows);
    EXPECT_EQ(loads_of(test::map_of(assignment)), loads_of(raw));
    name += ".stable";
  }
  ASSERT_EQ(test::map_of(assignment), routing_map(golden, name + ".routing_map", rows));
  const auto factor = rescale(variant, assignment, shared);
  EXPECT_TRUE(test::near(scaled(test::gates_of(assignment), factor),
                         doubles(matrix(golden, name + ".probs", rows)), tolerance(experts)));
  if (!golden.has(name + ".grad_logits")) return;

  const TestMatrix g = matrix(golden, "G", rows);
  const auto d_gate = by_slot(g, assignment);
  TestMatrix d_logits(rows.count(), experts);
  router->weigh_backward(logits, decision, assignment, d_gate, d_logits);
  EXPECT_TRUE(test::near(scaled(doubles(d_logits), factor),
                         doubles(matrix(golden, name + ".grad_logits", rows)), tolerance(experts)));
}

TEST(Golden, ExpertChoice) {
  Tally tally("ec_route");
  for (const GoldenCase& golden : test::golden_cases("ec_route")) {
    ++tally.cases;
    for (const auto& variant : golden.config().at("variants")) {
      if (flag(variant, "pre")) {
        tally.leave_out("expert choice by the softmax over all experts is none of the policies");
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
      if (variant.at("route") == "tc") {
        compare_variant(golden, token_choice_variant(golden, variant), "tc.", false);
      } else {
        compare_variant(golden, expert_choice_variant(golden, variant), "ec.",
                        flag(variant, "dyn"));
      }
      ++tally.compared;
    }
  }
}

// "bell_gaussian_reverse" of the recording.
RoutingPolicy::Capacity::Schedule schedule_named(const std::string& name) {
  using enum RoutingPolicy::Capacity::Schedule;
  const std::map<std::string, RoutingPolicy::Capacity::Schedule> names = {
      {"cosine", cosine},
      {"cosine_reverse", cosine_reverse},
      {"linear", linear},
      {"linear_reverse", linear_reverse},
      {"bell", bell},
      {"bell_gaussian", gaussian},
      {"bell_gaussian_reverse", gaussian_reverse}};
  return names.at(name);
}

TEST(Golden, Schedules) {
  Tally tally("schedulers");
  for (const GoldenCase& golden : test::golden_cases("schedulers")) {
    ++tally.cases;
    const auto ratios = golden.f32("mask_ratio").values;
    const auto& near_half = golden.description().at("values").at("near_half");
    for (const std::string output : golden.description().at("outputs")) {
      // schedule.minA_maxB[.sigmaC]
      const size_t dot = output.find('.');
      const std::string name = output.substr(0, dot);
      RoutingPolicy::Capacity capacity = {.schedule = schedule_named(name)};
      const int read = std::sscanf(output.c_str() + dot, ".min%d_max%d.sigma%lf", &capacity.min,
                                   &capacity.max, &capacity.sigma);
      ASSERT_EQ(read, name.starts_with("bell_gaussian") ? 3 : 2) << output;
      std::set<size_t> undecided;
      if (near_half.contains(output)) undecided = near_half.at(output).get<std::set<size_t>>();
      const auto expected = golden.i64(output).values;
      for (size_t i = 0; i < ratios.size(); ++i) {
        if (undecided.contains(i)) continue;
        EXPECT_EQ(scheduled_experts(capacity, ratios[i]), expected[i]) << output << " at " << i;
      }
      ++tally.compared;
    }
    EXPECT_EQ(tally.compared, 27);
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
      Decision decision;
      router->select(logits, batch.context(), assignment, decision);
      EXPECT_EQ(test::map_of(assignment), routing_map(golden, "tc.routing_map", rows));
      TestMatrix d_logits(rows.count(), experts);
      const BalanceLoss loss =
          router->balance(logits, batch.context(), decision, assignment, 1.0f, d_logits);
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
    tally.leave_out("ec_lb, a loss by which the public code balances what is balanced");
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
      Decision decision;
      router->select(logits, batch.context(), assignment, decision);
      router->weigh_forward(logits, decision, assignment);
      EXPECT_EQ(test::map_of(assignment), routing_map(golden, name + ".routing_map", rows));
      EXPECT_TRUE(test::near(test::gates_of(assignment),
                             doubles(matrix(golden, name + ".probs", rows)), tolerance(experts)));
      if (!token_choice) {
        tally.leave_out("gradients that hold ec_lb (selection and weights are compared)");
        continue;
      }
      const auto d_gate = by_slot(g, assignment);
      TestMatrix d_logits(rows.count(), experts);
      router->weigh_backward(logits, decision, assignment, d_gate, d_logits);
      router->balance(logits, batch.context(), decision, assignment, 1.0f, d_logits);
      EXPECT_TRUE(test::near(doubles(d_logits),
                             doubles(matrix(golden, name + ".grad_logits", rows)),
                             tolerance(experts)));
      ++tally.compared;
    }
  }
}

// One micro-batch of a recording [steps, microbatches, seq, bsz, experts].
TestMatrix part(const GoldenCase& golden, const std::string& name, Rows rows, int64_t index) {
  const auto values = golden.f32(name).values;
  const int64_t experts = golden.config().at("num_experts"), size = rows.count() * experts;
  TestMatrix result(rows.count(), experts);
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t e = 0; e < experts; ++e) {
      result(t, e) = values[index * size + rows.recorded(t) * experts + e];
    }
  }
  return result;
}

test::Map map_part(const GoldenCase& golden, Rows rows, int64_t index) {
  const auto values = golden.i64("routing_map").values;
  const int64_t experts = golden.config().at("num_experts"), size = rows.count() * experts;
  test::Map map = test::empty_map(rows.count(), experts);
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t e = 0; e < experts; ++e) {
      map[t][e] = values[index * size + rows.recorded(t) * experts + e] != 0;
    }
  }
  return map;
}

// Five steps of loss-free balancing. With `reference` the weights are those of the public code: the
// softmax over all experts at the chosen, neither renormalised nor scaled, and capacity drops by
// the weights that the biased logits have. Without, the weights of the same choices sum to scale.
TEST(Golden, LossFreeBalancing) {
  Tally tally("loss_free");
  for (const GoldenCase& golden : test::golden_cases("loss_free")) {
    SCOPED_TRACE(golden.name());
    ++tally.cases;
    const auto& config = golden.config();
    const int32_t experts = config.at("num_experts");
    const Rows rows = rows_of(config);
    RoutingPolicy policy;
    policy.experts_per_token = config.at("topk");
    policy.balance = {.bias_rate = config.at("bias_update_rate"), .reference = true};
    if (!config.at("capacity_factor").is_null()) {
      policy.drop = {.capacity_factor = config.at("capacity_factor")};
    }
    RoutingPolicy ours = policy;
    ours.scale = 2.5f;
    ours.balance.reference = false;
    ours.drop.reset();
    const auto router = test::router_for(policy, experts),
               default_router = test::router_for(ours, experts);
    RoutedBatch batch = batch_of(rows);
    batch.expert_bias.assign(experts, 0.0f);
    const auto recorded_bias = golden.f32("expert_bias_after_step").values;
    const auto recorded_load = golden.f32("tokens_per_expert_accumulated").values;
    int64_t index = 0, different = 0;
    for (int64_t step = 0; step < config.at("steps").get<int64_t>(); ++step) {
      std::vector<int64_t> load(experts);
      for (int64_t i = 0; i < config.at("microbatches").get<int64_t>(); ++i, ++index) {
        const TestMatrix logits = part(golden, "logits", rows, index);
        Assignment assignment;
        Decision decision;
        router->select(logits, batch.context(), assignment, decision);
        router->weigh_forward(logits, decision, assignment);
        add_chosen_load(assignment, decision, load);
        ASSERT_EQ(test::map_of(assignment), map_part(golden, rows, index));
        const auto recorded = doubles(part(golden, "probs", rows, index));
        EXPECT_TRUE(test::near(test::gates_of(assignment), recorded, tolerance(experts)));

        default_router->select(logits, batch.context(), assignment, decision);
        default_router->weigh_forward(logits, decision, assignment);
        for (const auto& gates : test::gates_of(assignment)) {
          EXPECT_NEAR(std::accumulate(gates.begin(), gates.end(), 0.0), 2.5, 2.5 * 1e-6);
        }
        different += !test::near(test::gates_of(assignment), recorded, 1e-3);
      }
      update_expert_bias(policy.balance.bias_rate, load, batch.expert_bias);
      for (int32_t e = 0; e < experts; ++e) {
        EXPECT_EQ(load[e], static_cast<int64_t>(recorded_load[step * experts + e]));
        EXPECT_NEAR(batch.expert_bias[e], recorded_bias[step * experts + e], 1e-7);
      }
    }
    EXPECT_EQ(different, index);
    ++tally.compared;
  }
}

}  // namespace
}  // namespace unmask
