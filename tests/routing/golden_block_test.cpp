#include "tests/routing/golden_routing.h"
#include "tests/routing/plain_policies.h"
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/routing/coreset.h"
#include "unmask/routing/router.h"

// LLaDA2's gate and block experts, as recorded from dMoE's public code.
namespace unmask {
namespace {

using test::batch_of;
using test::by_slot;
using test::doubles;
using test::GoldenCase;
using test::matrix;
using test::RoutedBatch;
using test::Rows;
using test::rows_of;
using test::Tally;
using test::tolerance;

constexpr int32_t kBlock = 32;

// Variants are "original", "be.p0.6" (inference, at least 16 experts) and "train.p0.6" (12).
RoutingPolicy policy_of(const nlohmann::json& config, const std::string& variant) {
  RoutingPolicy policy;
  policy.experts_per_token = config.at("top_k");
  policy.weights = RoutingPolicy::Weights::sigmoid;
  policy.scale = config.at("routed_scaling_factor");
  policy.groups = {.count = config.at("n_group"), .keep = config.at("topk_group")};
  if (variant == "original") return policy;
  policy.policy = RoutingPolicy::Selection::block_experts;
  policy.block.size = kBlock;
  policy.block.coreset_min = variant.starts_with("be") ? 16 : 12;
  const size_t p = variant.find(".p");
  policy.block.p = p == std::string::npos ? config.at("core_threshold").get<double>()
                                          : std::stod(variant.substr(p + 2));
  return policy;
}

// A recorded gate: what it chose and the weights.
struct Recorded {
  test::Map map;
  test::Gates gates;
};

Recorded recorded(const GoldenCase& golden, const std::string& name, Rows rows, int64_t experts) {
  const auto index = golden.i64(name + ".topk_idx").values;
  const TestMatrix weight = matrix(golden, name + ".topk_weight", rows);
  Recorded result = {test::empty_map(rows.count(), experts),
                     test::Gates(rows.count(), std::vector<double>(experts))};
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t i = 0; i < weight.cols(); ++i) {
      const int64_t e = index[rows.recorded(t) * weight.cols() + i];
      result.map[t][e] = true;
      result.gates[t][e] = static_cast<double>(weight(t, i));
    }
  }
  return result;
}

// Our router on a recording's logits.
struct Gate {
  Gate(const GoldenCase& golden, const std::string& variant)
      : policy(policy_of(golden.config(), variant)),
        rows(rows_of(golden.config())),
        logits(matrix(golden, "logits", rows)),
        batch(batch_of(rows)) {
    batch.expert_bias = golden.f32("expert_bias").values;
    router = test::router_for(policy, golden.config().at("num_experts"));
    router->select(logits, batch.context(), assignment, decision);
    router->weigh_forward(logits, decision, assignment);
  }

  RoutingPolicy policy;
  Rows rows;
  TestMatrix logits;
  RoutedBatch batch;
  std::unique_ptr<Router> router;
  Assignment assignment;
  Decision decision;
};

// Whether the public code's result for each token is defined: where it depends on the order of
// equal votes or of groups that it has scored -infinity, there is nothing to match.
std::vector<bool> defined_tokens(const GoldenCase& golden, const std::string& name, Rows rows) {
  std::vector<bool> defined(rows.count(), true);
  if (!golden.has(name + ".defined_token_mask")) return defined;
  const auto mask = golden.i64(name + ".defined_token_mask").values;
  for (int64_t t = 0; t < rows.count(); ++t) defined[t] = mask[rows.recorded(t)] != 0;
  return defined;
}

int64_t outside(const test::Map& map, const Decision& decision) {
  int64_t count = 0;
  for (size_t b = 0; b < decision.blocks.size(); ++b) {
    const auto experts = static_cast<int64_t>(map.front().size());
    const auto coreset = decision.coreset_of(static_cast<int64_t>(b), experts);
    for (int32_t t = decision.blocks[b].begin; t < decision.blocks[b].end; ++t) {
      for (int64_t e = 0; e < experts; ++e) count += map[t][e] && !coreset[e];
    }
  }
  return count;
}

// Returns how many choices of the public code lie outside the coreset.
int64_t compare_gate(const GoldenCase& golden, const std::string& variant,
                     const std::string& name) {
  SCOPED_TRACE(golden.name() + " " + name);
  const Gate gate(golden, variant);
  const int64_t experts = gate.logits.cols();
  const Recorded theirs = recorded(golden, name, gate.rows, experts);
  const auto defined = defined_tokens(golden, name, gate.rows);
  const test::Map map = test::map_of(gate.assignment);
  const test::Gates gates = test::gates_of(gate.assignment);
  for (int64_t t = 0; t < gate.rows.count(); ++t) {
    if (!defined[t]) continue;
    EXPECT_EQ(map[t], theirs.map[t]) << "token " << t;
    EXPECT_TRUE(test::near({gates[t]}, {theirs.gates[t]}, tolerance(gate.policy.experts_per_token)))
        << "token " << t;
  }
  if (variant == "original") return 0;

  // Coresets, where anything of the block is defined, and never a choice of ours outside.
  EXPECT_EQ(outside(map, gate.decision), 0);
  const auto mask = golden.i64(name + ".coreset_mask").values;
  EXPECT_EQ(std::ssize(mask), std::ssize(gate.decision.coreset));
  for (size_t b = 0; b < gate.decision.blocks.size(); ++b) {
    const RowBlock& block = gate.decision.blocks[b];
    if (std::none_of(defined.begin() + block.begin, defined.begin() + block.end,
                     [](bool d) { return d; })) {
      continue;
    }
    const auto ours = gate.decision.coreset_of(static_cast<int64_t>(b), experts);
    EXPECT_TRUE(
        std::equal(ours.begin(), ours.end(), mask.begin() + static_cast<int64_t>(b) * experts))
        << "coreset of block " << b;
  }
  return outside(theirs.map, gate.decision);
}

TEST(GoldenBlocks, Gate) {
  Tally tally("gate");
  int64_t theirs_outside = 0;
  for (const GoldenCase& golden : test::golden_cases("gate")) {
    ++tally.cases;
    for (const std::string name : golden.description().at("outputs")) {
      if (!name.ends_with(".topk_idx")) continue;
      const std::string variant = name.substr(0, name.find(".topk_idx"));
      // Votes of a padded last block are NaN there; `tailwise` is the same code without padding.
      if (golden.has(variant + ".tailwise.topk_idx")) continue;
      theirs_outside += compare_gate(golden, variant.substr(0, variant.find(".tailwise")), variant);
      ++tally.compared;
    }
  }
  // The public code leaves the coreset where the kept groups hold too few of its experts.
  EXPECT_GT(theirs_outside, 0);
}

TEST(GoldenBlocks, GateGradients) {
  Tally tally("gate_grad");
  for (const GoldenCase& golden : test::golden_cases("gate_grad")) {
    ++tally.cases;
    for (const std::string variant : {"original", "be", "train"}) {
      SCOPED_TRACE(golden.name() + " " + variant);
      const Gate gate(golden, variant);
      const Recorded theirs = recorded(golden, variant, gate.rows, gate.logits.cols());
      EXPECT_EQ(test::map_of(gate.assignment), theirs.map);
      EXPECT_TRUE(test::near(test::gates_of(gate.assignment), theirs.gates,
                             tolerance(gate.policy.experts_per_token)));
      const auto d_gate = by_slot(matrix(golden, "G", gate.rows), gate.assignment);
      TestMatrix d_logits(gate.rows.count(), gate.logits.cols());
      gate.router->weigh_backward(gate.logits, gate.decision, gate.assignment, d_gate, d_logits);
      EXPECT_TRUE(test::near(doubles(d_logits),
                             doubles(matrix(golden, variant + ".grad_logits", gate.rows)),
                             tolerance(gate.policy.experts_per_token)));
      ++tally.compared;
    }
  }
}

// Coresets from biased scores: votes summed here, the coreset marked by ours.
TEST(GoldenBlocks, CoresetSelection) {
  Tally tally("coreset");
  for (const GoldenCase& golden : test::golden_cases("coreset")) {
    ++tally.cases;
    const auto& config = golden.config();
    const int64_t experts = config.at("num_experts");
    const auto scores = golden.f32("block_scores");
    const int64_t blocks = scores.shape.at(0), length = scores.shape.at(1);
    const auto recorded_votes = golden.f32("be.votes").values;
    for (int64_t b = 0; b < blocks; ++b) {
      std::vector<double> votes(experts);
      double all = 0;
      for (int64_t t = 0; t < length; ++t) {
        const auto first = scores.values.begin() + (b * length + t) * experts;
        const std::vector<float> row(first, first + experts);
        for (const int64_t e : test::largest(row, config.at("top_k"))) {
          votes[e] += static_cast<double>(std::max(row[e], 0.0f));
        }
      }
      for (const double vote : votes) all += vote;
      for (int64_t e = 0; e < experts; ++e) {
        EXPECT_NEAR(votes[e] / all, recorded_votes[b * experts + e], 1e-6);
      }
      for (const double p : config.at("core_thresholds")) {
        for (const auto& [tag, least] : {std::pair{"be", 16}, {"train", 12}}) {
          const std::string name = fmt::format("{}.p{}.coreset_mask", tag, p);
          SCOPED_TRACE(golden.name() + " " + name);
          const auto mask = golden.i64(name).values;
          std::vector<uint8_t> coreset(experts);
          mark_by_share(votes, p, std::min<int32_t>(least, static_cast<int32_t>(experts)), coreset);
          EXPECT_TRUE(std::equal(coreset.begin(), coreset.end(), mask.begin() + b * experts));
          ++tally.compared;
        }
      }
    }
  }
}

}  // namespace
}  // namespace unmask
