#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/config.h"

namespace CLI {
class App;
}

namespace unmask::cli {

// Another routing policy than the checkpoint's, from the command line. What is not said stays as
// the checkpoint has it; a file replaces all.
struct RoutingFlags {
  std::optional<std::string> routing;  // a policy's name, or a TOML file
  std::optional<int32_t> experts_per_token, block_size, coreset_min, pool, k_vote;
  std::optional<double> p, beta;

  void add_to(CLI::App& command);
  // Fails on unknown names, bad files, values out of range, and keys that the policy does not have.
  Status apply(ModelConfig& config) const;
};

}  // namespace unmask::cli
