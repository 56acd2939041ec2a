#include "unmask/routing/registry.h"

#include <array>

#include "unmask/base/check.h"

namespace unmask {
namespace {

#define UNMASK_POLICY_ENTRY(enumerator, name, chooser) \
  PolicyEntry{RoutingPolicy::Selection::enumerator, name, Chooser::chooser, make_##enumerator},
constexpr std::array kPolicies = {UNMASK_ROUTING_POLICIES(UNMASK_POLICY_ENTRY)};
#undef UNMASK_POLICY_ENTRY

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

Chooser chooser_of(const RoutingPolicy& policy) { return entry_of(policy.policy).chooser; }
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
