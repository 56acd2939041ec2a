#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/files.h"
#include "unmask/base/log.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/output_path.h"
#include "unmask/report/page.h"
#include "unmask/report/summary.h"

namespace unmask::cli {
namespace {

struct ReportArguments {
  std::vector<std::string> directories;
  std::string out = "report.html";
  bool text = false;
};

constexpr size_t kProblemsShown = 5;  // per run

Result<std::vector<RunLog>> read_runs(const std::vector<std::string>& directories) {
  std::vector<RunLog> runs;
  for (const std::string& directory : directories) {
    UNMASK_TRY(RunLog run, read_run(directory));
    for (const RunLog& earlier : runs) {
      std::error_code code;
      if (std::filesystem::equivalent(earlier.directory, directory, code)) {
        return usage_error("{}: expected each run once, found it twice", directory);
      }
    }
    for (size_t i = 0; i < run.problems.size() && i < kProblemsShown; ++i) {
      log_warning("{}", run.problems[i]);
    }
    if (run.problems.size() > kProblemsShown) {
      log_warning("{}: {} more lines skipped", directory, run.problems.size() - kProblemsShown);
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

Status report(const ReportArguments& arguments) {
  UNMASK_TRY(const std::vector<RunLog> runs, read_runs(arguments.directories));
  if (arguments.text) {
    fmt::print("{}", summary_table(runs));
    return {};
  }
  for (const RunLog& run : runs) {
    UNMASK_TRY_STATUS(
        keep_inputs("--out", arguments.out,
                    {run.directory + "/metrics.jsonl", run.directory + "/samples.jsonl",
                     run.directory + "/config.json"}));
  }
  UNMASK_TRY_STATUS(write_file_atomically(arguments.out, render_page(runs)));
  fmt::print("{}\n", arguments.out);
  return {};
}

}  // namespace

void add_report(CLI::App& program, Run& run) {
  const auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command = program.add_subcommand("report", "Compare runs in one HTML file");
  command->add_option("RUN", arguments->directories, "Run directories, each with metrics.jsonl")
      ->required();
  command->add_option("--out,-o", arguments->out, "The file to write")->capture_default_str();
  command->add_flag("--text", arguments->text, "Print a table instead");
  command->callback([&run, arguments] { run = [arguments] { return report(*arguments); }; });
}

}  // namespace unmask::cli
