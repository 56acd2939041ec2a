#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask::cli {

// A routing policy in a file of its own, with the keys of docs/routing at top level, or that of a
// training configuration; `settings` are "key=value" over it. Errors name the file.
Result<RoutingPolicy> read_policy_file(const std::string& path,
                                       const std::vector<std::string>& settings = {});

// An error about `[routing]`, said of a policy file, where the same keys stand at top level.
Error in_policy_file(const Error& error, const std::string& path);

}  // namespace unmask::cli
