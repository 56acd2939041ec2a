#include "unmask/cli/run_flags.h"

#include <span>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/document.h"
#include "unmask/report/metrics_reader.h"
#include "unmask/report/summary.h"

namespace unmask::cli {

void RunFlags::add_to(CLI::App& command, const std::string& document) {
  command.add_option("--config,-c", config, fmt::format("TOML file ({})", document))->required();
  command.add_option("--set", settings, "key=value over the file, repeatable")
      ->allow_extra_args(false);
  command.add_option("--run", run, "Run directory, by default runs/NAME");
  command.add_flag("--resume", resume, "Go on from where the run was when it stopped");
  command.add_flag("--quiet", quiet, "No progress, no summary");
}

Result<nlohmann::json> RunFlags::document() const {
  UNMASK_TRY(nlohmann::json document, read_layered_toml_file(config));
  for (const std::string& setting : settings) UNMASK_TRY_STATUS(set_value(document, setting));
  return document;
}

std::string RunFlags::directory(const std::string& name) const {
  return run.empty() ? "runs/" + name : run;
}

Status RunFlags::print_summary(const std::string& run_directory) const {
  if (quiet) return {};
  UNMASK_TRY(const RunLog log, read_run(run_directory));
  fmt::print("{}", summary_table(std::span(&log, 1)));
  return {};
}

}  // namespace unmask::cli
