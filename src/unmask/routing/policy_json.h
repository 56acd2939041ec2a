#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask {

// A policy as it stands in files: the `[routing]` table of a training configuration,
// `unmask.routing` of a model's config.json, a policy file of its own (docs/routing).
// `where` is the key path of the table ("routing"; empty for a whole file), `file` is named in
// errors when given. Whether the policy fits a number of experts is make_router's to say.
Result<RoutingPolicy> policy_from_json(const nlohmann::json& table, const std::string& where = "",
                                       const std::string& file = "");
nlohmann::json to_json(const RoutingPolicy& policy);

struct PolicyEntry;

// Renames the policy in a table, and drops the keys that the new one cannot have.
void change_policy(nlohmann::json& table, const PolicyEntry& entry);

}  // namespace unmask
