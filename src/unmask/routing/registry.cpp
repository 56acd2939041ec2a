#include "unmask/routing/registry.h"

#include <array>

#include "unmask/base/check.h"
#include "unmask/routing/expert_choice.h"
#include "unmask/routing/token_choice.h"

namespace unmask {
namespace {

using enum RoutingPolicy::Selection;

constexpr std::array kPolicies = {
    PolicyEntry{token_choice, "token-choice", make_token_choice},
    PolicyEntry{expert_choice, "expert-choice", make_expert_choice},
};

}  // namespace

std::span<const PolicyEntry> policies() { return kPolicies; }

const PolicyEntry* find_policy(std::string_view name) {
  for (const PolicyEntry& entry : kPolicies) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

const PolicyEntry& entry_of(RoutingPolicy::Selection policy) {
  for (const PolicyEntry& entry : kPolicies) {
    if (entry.policy == policy) return entry;
  }
  check_failed("the policy is registered", __FILE__, __LINE__);
}

std::string_view name_of(RoutingPolicy::Selection policy) { return entry_of(policy).name; }

const std::vector<std::string>& policy_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    all.reserve(kPolicies.size());
    for (const PolicyEntry& entry : kPolicies) all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

}  // namespace unmask
