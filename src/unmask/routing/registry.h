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

// Every policy that exists: its name in files and how its selection is made. `make` refuses a
// policy whose keys do not fit together or do not fit the number of experts.
struct PolicyEntry {
  RoutingPolicy::Selection policy;
  std::string_view name;
  Result<std::unique_ptr<Selector>> (*make)(const RoutingPolicy& policy, int32_t experts);
};

std::span<const PolicyEntry> policies();
const PolicyEntry* find_policy(std::string_view name);  // null = unknown
const PolicyEntry& entry_of(RoutingPolicy::Selection policy);
std::string_view name_of(RoutingPolicy::Selection policy);
const std::vector<std::string>& policy_names();

}  // namespace unmask
