#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/cli/routing_flags.h"
#include "unmask/diffusion/generate.h"
#include "unmask/text/stop_strings.h"

namespace CLI {
class App;
}

namespace unmask::cli {

// How to decode, as every command that generates has it.
struct DecodingFlags {
  GenerateOptions options;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  std::optional<Precision> precision;
  std::optional<int64_t> expert_memory;
  RoutingFlags routing;

  void add_to(CLI::App& command);

  // With the routing that the flags ask for.
  Result<Model> load(const std::string& checkpoint) const;
  // `options` for texts that end there. `tokenizer` may be null where no strings end them; both
  // outlive what is returned.
  Result<GenerateOptions> complete(const Tokenizer* tokenizer, const TextEnds& ends) const;
};

}  // namespace unmask::cli
