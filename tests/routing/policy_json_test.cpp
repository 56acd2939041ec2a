#include "unmask/routing/policy_json.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/router.h"

namespace unmask {
namespace {

Result<RoutingPolicy> read(std::string_view text) {
  auto document = parse_toml(text, "policy.toml");
  EXPECT_TRUE(document.ok()) << document.error().message;
  return policy_from_json(*document, "routing");
}

std::string error_of(std::string_view text) {
  const auto policy = read(text);
  return policy.ok() ? "" : policy.error().message;
}

TEST(PolicyFile, ChangedToExpertChoiceItKeepsWhatThatHas) {
  const auto before = read(R"(
policy = "token-choice"
experts_per_token = 2
weights = "softmax-before"
scale = 2.5
groups = { count = 4, keep = 2 }
)");
  ASSERT_TRUE(before.ok()) << before.error().message;
  nlohmann::json table = to_json(*before);
  change_policy(table, *find_policy("expert-choice"));
  const auto after = policy_from_json(table);
  ASSERT_TRUE(after.ok()) << after.error().message;
  EXPECT_EQ(after->weights, RoutingPolicy::Weights::softmax);
  EXPECT_EQ(after->scale, 2.5f);
  EXPECT_FALSE(after->groups.has_value());
  EXPECT_TRUE(make_router(*after, 8, 0).ok());
}

TEST(PolicyFile, ChangedByNameItLeavesWhatTheOtherCannotHave) {
  const auto changed = [](std::string_view text, const char* name) {
    nlohmann::json table = to_json(*read(text));
    change_policy(table, *find_policy(name));
    return policy_from_json(table);
  };
  const auto block = changed(R"(
policy = "coreset-expert-choice"
experts_per_token = 2
capacity = { schedule = "linear", min = 1, max = 3 }
block = { size = 8, p_min = 0.2, p_max = 0.9 }
)",
                             "block-experts");
  ASSERT_TRUE(block.ok()) << block.error().message;
  EXPECT_EQ(block->block.size, 8);
  EXPECT_TRUE(make_router(*block, 8, 0).ok()) << make_router(*block, 8, 0).error().message;

  const auto coreset = changed(R"(
policy = "expert-choice"
experts_per_token = 2
selection = "batch"
)",
                               "coreset-expert-choice");
  ASSERT_TRUE(coreset.ok()) << coreset.error().message;
  EXPECT_TRUE(make_router(*coreset, 8, 0).ok()) << make_router(*coreset, 8, 0).error().message;
}

TEST(PolicyFile, ReadsExpertChoice) {
  const auto policy = read(R"(
policy = "expert-choice"
experts_per_token = 20
weights = "sigmoid"
renormalize = false
scale = "monte-carlo"
selection = "sequence"
[capacity]
schedule = "linear-reverse"
min = 8
max = 32
[balance]
z = 0.001
)");
  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_EQ(*policy,
            (RoutingPolicy{
                .policy = RoutingPolicy::Selection::expert_choice,
                .experts_per_token = 20,
                .weights = RoutingPolicy::Weights::sigmoid,
                .renormalize = false,
                .monte_carlo = true,
                .capacity = {{.schedule = RoutingPolicy::Capacity::Schedule::linear_reverse,
                              .min = 8,
                              .max = 32}},
                .balance = {.z_loss = 0.001f},
            }));
}

TEST(PolicyFile, ReadsTokenChoice) {
  const auto policy = read(R"(
policy = "token-choice"
experts_per_token = 8
weights = "sigmoid"
scale = 2.5
[groups]
count = 8
keep = 4
[balance]
switch = 0.01
sequence = 0.02
)");
  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_EQ(*policy, (RoutingPolicy{
                         .weights = RoutingPolicy::Weights::sigmoid,
                         .scale = 2.5f,
                         .groups = {{.count = 8, .keep = 4}},
                         .balance = {.switch_loss = 0.01f, .sequence_loss = 0.02f},
                     }));
}

TEST(PolicyFile, RoundTrips) {
  RoutingPolicy policy;
  for (const auto& [selection, name, chooser, make] : policies()) {
    for (const auto weights :
         {RoutingPolicy::Weights::softmax, RoutingPolicy::Weights::softmax_before,
          RoutingPolicy::Weights::sigmoid}) {
      policy = RoutingPolicy{
          .policy = selection, .experts_per_token = 5, .weights = weights, .scale = 0.1f};
      policy.balance = {.switch_loss = 0.01f, .sequence_loss = 0.3f, .z_loss = 1e-3f};
      for (const bool more : {false, true}) {
        policy.renormalize = !more;
        if (more) {
          policy.scale = 1.0f;
          policy.monte_carlo = true;
          policy.groups = {.count = 4, .keep = 2};
          policy.capacity = {.min = 2, .max = 7};
          if (chooser == Chooser::expert) policy.selection = RoutingPolicy::Group::block;
          policy.drop = {.capacity_factor = 1.25, .policy = RoutingPolicy::Drop::Keep::position};
          policy.block = {.size = 16,
                          .p = 0.7,
                          .p_min = 0.3,
                          .p_max = 0.8,
                          .coreset_min = 5,
                          .beta = 0.3,
                          .k_vote = 2};
          policy.balance.bias_rate = 1e-3f;
          policy.balance.reference = true;
        }
        const nlohmann::json json = to_json(policy);
        // Through text, as in a config.json.
        const auto again = policy_from_json(json_in(to_text(json)));
        ASSERT_TRUE(again.ok()) << again.error().message;
        EXPECT_EQ(*again, policy);
      }
    }
  }
  EXPECT_EQ(to_text(to_json(RoutingPolicy{.scale = 0.1f}).at("scale")), "0.1");
}

TEST(PolicyFile, ErrorsNameTheKey) {
  EXPECT_EQ(error_of("exprts_per_token = 8"),
            "unknown key 'routing.exprts_per_token': did you mean 'experts_per_token'?");
  EXPECT_EQ(error_of("[capacity]\nschedul = 'static'"),
            "unknown key 'routing.capacity.schedul': did you mean 'schedule'?");
  EXPECT_EQ(error_of("experts_per_token = 0"),
            "'routing.experts_per_token': expected at least 1, found 0");
  EXPECT_EQ(error_of("scale = 'monte'"),
            "'routing.scale': expected a number or \"monte-carlo\", found the string \"monte\"");
  EXPECT_EQ(error_of("policy = 'expert-choise'"),
            fmt::format("'routing.policy': expected one of {} (nearest: \"expert-choice\"), found "
                        "the string \"expert-choise\"",
                        fmt::join(policy_names(), ", ")));
  EXPECT_EQ(error_of("[drop]\npolicy = 'probs'"), "missing key 'routing.drop.capacity_factor'");
  EXPECT_EQ(error_of("[block]\np = 1.5"),
            "'routing.block.p': expected a value between 0 and 1, found 1.5");
  EXPECT_EQ(error_of("[block]\ncorset_min = 16"),
            "unknown key 'routing.block.corset_min': did you mean 'coreset_min'?");
  EXPECT_EQ(error_of("[balance]\nz = -1.0"),
            "'routing.balance.z': expected at least 0, found -1.0");
}

}  // namespace
}  // namespace unmask
