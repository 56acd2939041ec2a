// What holds for any logits: 10,000 random cases for each policy.

#include "tests/routing/routing_cases.h"
#include <numeric>

#include <gtest/gtest.h>

#include "unmask/routing/coreset.h"
#include "unmask/routing/router.h"

namespace unmask {
namespace {

using test::Case;
using test::route;
using test::Routed;
using test::RoutedBatch;
using test::Selection;
using test::Weights;

class EveryPolicy : public testing::TestWithParam<Selection> {
 protected:
  // f(case, router, routed) for `count` random cases of few experts and tokens.
  template <class F>
  void for_cases(uint64_t count, F&& f) const {
    for (uint64_t seed = 0; seed < count; ++seed) {
      const Case c = test::random_case(seed, GetParam(), 16, 12);
      const auto router = test::router_for(c.policy, c.experts);
      ASSERT_TRUE(router) << "seed " << seed;
      SCOPED_TRACE("seed " + std::to_string(seed));
      f(c, *router, route(*router, c.logits, c.batch));
      if (HasFatalFailure()) return;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Property, EveryPolicy, testing::ValuesIn(test::all_policies()),
                         [](const auto& info) {
                           std::string name(entry_of(info.param).name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

void expect_counts_of_token_choice(const Case& c, const Routed& routed) {
  for (int32_t t = 0; t < c.batch.tokens(); ++t) {
    const auto chosen = std::ssize(routed.slots_of(t)) + std::ssize(routed.decision.dropped_of(t));
    ASSERT_EQ(chosen, c.batch.padded(t) ? 0 : c.policy.experts_per_token) << "token " << t;
  }
}

// Every expert takes exactly its capacity of each group.
void expect_counts_of_expert_choice(const Case& c, const Routed& routed) {
  const auto groups = test::plain_groups(c.policy, c.batch);
  size_t group = 0;
  for (const int32_t capacity : routed.decision.capacity) {
    if (capacity == 0) continue;  // padding alone, which the twin leaves out
    while (groups[group].rows.empty()) ++group;
    const auto& rows = groups[group++].rows;
    for (int32_t e = 0; e < c.experts; ++e) {
      const auto tokens = routed.tokens_of(e);
      ASSERT_EQ(std::count_if(
                    rows.begin(), rows.end(),
                    [&](int64_t t) { return std::binary_search(tokens.begin(), tokens.end(), t); }),
                capacity)
          << "expert " << e;
    }
  }
  while (group < groups.size() && groups[group].rows.empty()) ++group;
  ASSERT_EQ(group, groups.size());
}

// Every expert of a block's coreset takes exactly the block's capacity.
void expect_counts_of_coresets(const Case& c, const Routed& routed) {
  int64_t expected = 0;
  for (size_t b = 0; b < routed.decision.blocks.size(); ++b) {
    const RowBlock& block = routed.decision.blocks[b];
    expected += int64_t{routed.decision.capacity[b]} * routed.decision.coreset_size[b];
    for (int32_t e = 0; e < c.experts; ++e) {
      const auto tokens = routed.tokens_of(e);
      ASSERT_EQ(std::count_if(tokens.begin(), tokens.end(),
                              [&](int32_t t) { return block.begin <= t && t < block.end; }),
                routed.decision.coreset_of(static_cast<int64_t>(b), c.experts)[e]
                    ? routed.decision.capacity[b]
                    : 0);
    }
  }
  ASSERT_EQ(routed.slots(), expected);
}

TEST_P(EveryPolicy, GivesTheCountsThatItPromises) {
  for_cases(10000, [](const Case& c, Router&, const Routed& routed) {
    ASSERT_TRUE(test::well_formed(routed));
    if (chooser_of(c.policy) == Chooser::token) {
      expect_counts_of_token_choice(c, routed);
    } else if (!test::has_coresets(c.policy.policy)) {
      expect_counts_of_expert_choice(c, routed);
    } else {
      expect_counts_of_coresets(c, routed);
    }
  });
}

TEST_P(EveryPolicy, WeightsSumToScale) {
  for_cases(10000, [](const Case& c, Router&, const Routed& routed) {
    const bool normalized = c.policy.renormalize || c.policy.weights == Weights::softmax;
    const auto scale = static_cast<double>(c.policy.scale);
    for (int32_t t = 0; t < c.batch.tokens(); ++t) {
      if (routed.slots_of(t).empty()) continue;
      double sum = 0;
      for (const int32_t s : routed.slots_of(t)) {
        ASSERT_GE(routed.gate[s], 0);
        sum += static_cast<double>(routed.gate[s]);
      }
      const double tolerance = scale * (f32_tolerance(c.experts) + 8 * kEpsilonF32);
      if (!normalized) continue;
      if (routed.decision.dropped_of(t).empty()) {
        ASSERT_NEAR(sum, scale, tolerance);
      } else {
        ASSERT_LE(sum, scale + tolerance);  // what was dropped is not made up for
      }
    }
  });
}

TEST_P(EveryPolicy, StaysWithinTheCoreset) {
  if (!test::has_coresets(GetParam())) return;
  for_cases(10000, [](const Case& c, Router&, const Routed& routed) {
    const Decision& decision = routed.decision;
    for (size_t b = 0; b < decision.blocks.size(); ++b) {
      const auto coreset = decision.coreset_of(static_cast<int64_t>(b), c.experts);
      const RowBlock& block = decision.blocks[b];
      ASSERT_EQ(std::count(coreset.begin(), coreset.end(), 1), decision.coreset_size[b]);
      bool padding = true;
      for (int32_t t = block.begin; t < block.end; ++t) padding &= c.batch.padded(t);
      const int32_t k =
          decision.k.empty() ? c.policy.experts_per_token : decision.k[block.sequence];
      ASSERT_GE(decision.coreset_size[b], padding ? 0 : k);
      for (int32_t e = 0; e < c.experts; ++e) {
        if (coreset[e]) continue;
        for (const int32_t t : routed.tokens_of(e)) ASSERT_FALSE(block.begin <= t && t < block.end);
      }
    }
  });
}

// A larger p, pool, beta or k_vote never loses an expert.
TEST_P(EveryPolicy, CoresetGrowsWithItsKey) {
  if (!test::has_coresets(GetParam())) return;
  for_cases(10000, [](const Case& c, Router&, const Routed& routed) {
    RoutingPolicy larger = c.policy;
    larger.block.p = std::min(1.0, c.policy.block.p + 0.2);
    if (larger.block.p_max) larger.block.p_max = std::min(1.0, *larger.block.p_max + 0.2);
    larger.block.pool = c.policy.block.pool + 3;
    larger.block.beta = std::min(1.0, c.policy.block.beta + 0.2);
    larger.block.k_vote = std::min(c.policy.experts_per_token, c.policy.block.k_vote + 2);
    const auto router = test::router_for(larger, c.experts);
    const Routed more = route(*router, c.logits, c.batch);
    for (size_t b = 0; b < routed.decision.blocks.size(); ++b) {
      // A union of fewer than k experts is filled up by votes, with others than a larger one has.
      if (c.policy.policy == Selection::des_seq &&
          routed.decision.coreset_size[b] == c.policy.experts_per_token) {
        continue;
      }
      for (int32_t e = 0; e < c.experts; ++e) {
        ASSERT_LE(routed.decision.coreset_of(b, c.experts)[e],
                  more.decision.coreset_of(b, c.experts)[e]);
      }
    }
  });
}

bool has_close_values(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  for (size_t i = 1; i < values.size(); ++i) {
    if (values[i] != 0 && values[i] - values[i - 1] < 8 * kEpsilonF32) return true;
  }
  return false;
}

// Whether scores of a token or votes of a block are within rounding, which may then order them
// either way, or votes of chosen experts are clamped at 0, which ties them.
bool nearly_ties(const Case& c) {
  for (int64_t t = 0; t < c.logits.rows(); ++t) {
    const auto scores = test::plain_scores(c.policy, c.logits, c.batch, t);
    if (has_close_values(scores)) return true;
    const bool sigmoid = c.policy.weights == Weights::sigmoid && !c.batch.expert_bias.empty();
    if (sigmoid && *std::min_element(scores.begin(), scores.end()) <= 0) return true;
  }
  if (!test::has_coresets(c.policy.policy)) return false;
  for (const auto& block : test::plain_blocks(c.batch, c.policy.block.size)) {
    if (has_close_values(test::plain_ranking(c.policy, c.logits, c.batch, block.rows))) return true;
  }
  return false;
}

// Renaming the experts, or reordering tokens among those that compete, does the same to the result;
// for that no two logits may be equal.
TEST_P(EveryPolicy, PermutingExpertsAndTokensPermutesTheResult) {
  for_cases(10000, [](const Case& original, Router&, const Routed&) {
    Case c = original;
    const auto seed = static_cast<uint64_t>(c.logits.rows() * 1000 + c.logits.cols());
    c.policy.groups.reset();         // groups are of neighbours
    c.policy.block.coreset_min = 1;  // experts without a vote come in by index
    if (c.policy.drop) c.policy.drop->policy = RoutingPolicy::Drop::Keep::probs;  // not position
    c.logits = random_matrix(c.batch.tokens(), c.experts, seed, 2.0f);
    if (nearly_ties(c)) return;
    const auto router = test::router_for(c.policy, c.experts);
    const test::Map plain = test::map_of(route(*router, c.logits, c.batch));

    const auto shuffle = [&](std::vector<int64_t>& order, uint32_t what) {
      for (int64_t i = std::ssize(order) - 1; i > 0; --i) {
        std::swap(order[i], order[random_below({seed, Purpose::synthetic},
                                               static_cast<uint64_t>(i + 1), what, 99)]);
      }
    };
    std::vector<int64_t> experts(c.experts), tokens(c.batch.tokens());
    std::iota(experts.begin(), experts.end(), 0);
    std::iota(tokens.begin(), tokens.end(), 0);
    shuffle(experts, 1);
    auto units = test::has_coresets(c.policy.policy)
                     ? test::plain_blocks(c.batch, c.policy.block.size)
                     : test::plain_groups(c.policy, c.batch);
    for (auto& unit : units) {
      auto order = unit.rows;
      shuffle(order, 2);
      for (size_t i = 0; i < order.size(); ++i) tokens[unit.rows[i]] = order[i];
    }
    Case permuted = c;
    for (int64_t t = 0; t < c.batch.tokens(); ++t) {
      for (int32_t e = 0; e < c.experts; ++e) {
        permuted.logits(t, e) = c.logits(tokens[t], experts[e]);
      }
    }
    for (size_t e = 0; e < c.batch.expert_bias.size(); ++e) {
      permuted.batch.expert_bias[e] = c.batch.expert_bias[experts[e]];
    }
    const test::Map result = test::map_of(route(*router, permuted.logits, permuted.batch));
    for (int64_t t = 0; t < c.batch.tokens(); ++t) {
      for (int32_t e = 0; e < c.experts; ++e) {
        ASSERT_EQ(result[t][e], plain[tokens[t]][experts[e]]);
      }
    }
  });
}

// With all logits equal the lowest experts and the earliest tokens win.
TEST_P(EveryPolicy, EqualLogitsGoToTheLowestIndex) {
  for_cases(2000, [](const Case& original, Router& router, const Routed&) {
    Case c = original;
    c.batch.expert_bias.clear();
    std::fill(c.logits.flat().begin(), c.logits.flat().end(), 0.5f);
    const Routed routed = route(router, c.logits, c.batch);
    if (chooser_of(c.policy) == Chooser::token) {
      const int32_t k = c.policy.experts_per_token;
      for (int32_t t = 0; t < c.batch.tokens(); ++t) {
        for (const int32_t s : routed.slots_of(t)) {
          const auto after =
              std::upper_bound(routed.expert_begin.begin(), routed.expert_begin.end(), s);
          ASSERT_LE(after - routed.expert_begin.begin(), k);
        }
      }
    } else if (!test::has_coresets(c.policy.policy)) {
      for (const auto& group : test::plain_groups(c.policy, c.batch)) {
        const auto taken = routed.tokens_of(0);
        bool before = true;  // the tokens of a group are taken from its start
        for (const int64_t t : group.rows) {
          const bool here = std::binary_search(taken.begin(), taken.end(), t);
          ASSERT_TRUE(before || !here);
          before = here;
        }
      }
    }
  });
}

// A sequence by itself gets what it gets in a batch, unless the batch is what competes.
TEST_P(EveryPolicy, ASequenceDoesNotSeeTheOthers) {
  for_cases(2000, [](const Case& c, Router& router, const Routed& routed) {
    if (c.policy.drop || c.policy.selection == RoutingPolicy::Group::batch) return;
    const int32_t b = c.batch.sequences() - 1, first = c.batch.sequence_begin[b];
    RoutedBatch alone;
    alone.add_sequence(c.batch.tokens() - first, c.batch.mask_ratio[b]);
    if (!c.batch.padding.empty()) {
      alone.padding.assign(c.batch.padding.begin() + first, c.batch.padding.end());
    }
    if (!c.batch.position.empty()) {
      alone.position.assign(c.batch.position.begin() + first, c.batch.position.end());
    }
    alone.expert_bias = c.batch.expert_bias;
    TestMatrix logits(alone.tokens(), c.experts);
    for (int64_t t = 0; t < logits.rows(); ++t) {
      std::copy_n(c.logits.view().row(first + t), c.experts, logits.view().row(t));
    }
    const auto all = test::gates_of(routed);
    ASSERT_EQ(test::Gates(all.begin() + first, all.end()),
              test::gates_of(route(router, logits, alone)));
  });
}

}  // namespace
}  // namespace unmask
