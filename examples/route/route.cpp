// Routes eight tokens to four experts by expert choice and prints who computes what.
#include <cstdio>
#include <vector>

#include "unmask/routing/input.h"
#include "unmask/routing/router.h"

int main() {
  unmask::RoutingPolicy policy;
  policy.policy = unmask::RoutingPolicy::Selection::expert_choice;
  policy.experts_per_token = 2;
  auto router = unmask::make_router(policy, 4, 0);
  if (!router) return std::puts(router.error().message.c_str()), 1;

  std::vector<float> logits(8 * 4);
  for (int i = 0; i < 32; ++i) logits[i] = static_cast<float>(i * 7 % 11);
  const std::vector<int32_t> sequences = {0, 8};
  const std::vector<float> mask_ratio = {0.5f};
  const unmask::RouteContext context = {.sequence_begin = sequences, .mask_ratio = mask_ratio};
  if (const auto valid = unmask::check_routing_input({logits.data(), 8, 4}, context); !valid) {
    return std::puts(valid.error().message.c_str()), 1;
  }
  unmask::Assignment chosen;
  unmask::Decision decision;
  (*router)->select({logits.data(), 8, 4}, context, chosen, decision);
  (*router)->weigh_forward({logits.data(), 8, 4}, decision, chosen);
  for (int32_t expert = 0; expert < 4; ++expert) {
    std::printf("expert %d:", expert);
    for (const int32_t token : chosen.tokens_of(expert)) std::printf(" %d", token);
    std::puts("");
  }
}
