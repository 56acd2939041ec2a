#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/model/config.h"

namespace unmask {

// Lays a [routing] table (docs/routing) over the policy of a model. Where it names another policy,
// keys that this one cannot have are dropped. What balances training goes, unless it is asked for.
Status change_routing(const nlohmann::json& changes, const std::string& file, ModelConfig& config);

}  // namespace unmask
