#include "unmask/experiment/changed_routing.h"

#include "unmask/base/json_text.h"
#include "unmask/routing/policy_json.h"
#include "unmask/routing/registry.h"

namespace unmask {

Status change_routing(const nlohmann::json& changes, const std::string& file, ModelConfig& config) {
  if (!changes.is_object()) {
    return usage_error("{}: routing: expected a table, found {}", file, to_text(changes));
  }
  nlohmann::json table = to_json(config.routing);
  table.erase("balance");
  if (const auto policy = changes.find("policy"); policy != changes.end() && policy->is_string()) {
    if (const PolicyEntry* entry = find_policy(policy->get<std::string>())) {
      change_policy(table, *entry);
    }
  }
  table.merge_patch(changes);
  UNMASK_TRY(config.routing, policy_from_json(table, "routing", file));
  return {};
}

}  // namespace unmask
