#include "unmask/cli/policy_file.h"

#include <string_view>

#include "unmask/base/document.h"
#include "unmask/routing/policy_json.h"

namespace unmask::cli {

Result<RoutingPolicy> read_policy_file(const std::string& path,
                                       const std::vector<std::string>& settings) {
  UNMASK_TRY(nlohmann::json document, read_layered_toml_file(path));
  const bool configuration = document.contains("routing");
  if (configuration) document = nlohmann::json(document["routing"]);
  for (const std::string& setting : settings) {
    UNMASK_TRY_STATUS(set_value(document, setting));
  }
  auto policy = policy_from_json(document, "", path);
  if (!policy && !configuration) return in_policy_file(policy.error(), path);
  return policy;
}

Error in_policy_file(const Error& error, const std::string& path) {
  constexpr std::string_view kTable = "routing.";
  const std::string place = path + ": ";
  std::string message = error.message;
  if (message.starts_with(place)) message.erase(0, place.size());
  for (size_t at = 0; (at = message.find(kTable, at)) != std::string::npos;) {
    message.erase(at, kTable.size());
  }
  return {.message = place + message, .kind = error.kind};
}

}  // namespace unmask::cli
