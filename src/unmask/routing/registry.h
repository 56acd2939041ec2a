#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/selector.h"

namespace unmask {

// make_token_choice, make_expert_choice, …: each in the file of its policy. They refuse a policy
// whose keys do not fit together or do not fit the number of experts.
#define UNMASK_POLICY_MAKER(enumerator, name, chooser) \
  Result<std::unique_ptr<Selector>> make_##enumerator(const RoutingPolicy& policy, int32_t experts);
UNMASK_ROUTING_POLICIES(UNMASK_POLICY_MAKER)
#undef UNMASK_POLICY_MAKER

// Who chooses: every token k experts, or experts their tokens.
enum class Chooser { token, expert };

// Every policy that exists: its name in files and how its selection is made.
struct PolicyEntry {
  RoutingPolicy::Selection policy;
  std::string_view name;
  Chooser chooser;
  Result<std::unique_ptr<Selector>> (*make)(const RoutingPolicy& policy, int32_t experts);
};

std::span<const PolicyEntry> policies();
const PolicyEntry* find_policy(std::string_view name);  // null = unknown
const PolicyEntry& entry_of(RoutingPolicy::Selection policy);
Chooser chooser_of(const RoutingPolicy& policy);
std::string_view name_of(RoutingPolicy::Selection policy);
const std::vector<std::string>& policy_names();

}  // namespace unmask
