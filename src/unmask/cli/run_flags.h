#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"

namespace CLI {
class App;
}

namespace unmask::cli {

// What a command that carries out a run is told.
struct RunFlags {
  std::string config;
  std::vector<std::string> settings;
  std::string run;
  bool resume = false;
  bool quiet = false;

  // `document`: where the keys of the configuration are listed.
  void add_to(CLI::App& command, const std::string& document);

  // The configuration with the settings of the command line in it.
  Result<nlohmann::json> document() const;
  // Of a run with this name.
  std::string directory(const std::string& name) const;
  // What the metrics of the run say, for a person; nothing with --quiet.
  Status print_summary(const std::string& run_directory) const;
};

}  // namespace unmask::cli
