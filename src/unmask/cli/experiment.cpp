#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/files.h"
#include "unmask/base/log.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/interrupt.h"
#include "unmask/experiment/deadline.h"
#include "unmask/experiment/page.h"
#include "unmask/experiment/results_document.h"
#include "unmask/experiment/runner.h"

namespace unmask::cli {
namespace {

constexpr const char* kRoot = "experiments";
constexpr const char* kOut = "runs/experiments";
constexpr const char* kQuickOut = "runs/experiments/quick";

struct Arguments {
  std::string name, out, document = "docs/results.md";
  bool quick = false;
  double budget = 60;  // minutes
  int32_t seeds = 0, side_by_side = 0;

  std::string directory() const { return out.empty() ? (quick ? kQuickOut : kOut) : out; }
};

Status expect_experiments() {
  if (!experiment_names(kRoot).empty()) return {};
  return usage_error(
      "{}: expected a folder of experiments here; run from the root of the repository", kRoot);
}

// A file that cannot be read does not hide the others.
Status list() {
  UNMASK_TRY_STATUS(expect_experiments());
  Status first;
  for (const std::string& name : experiment_names(kRoot)) {
    const auto spec = read_experiment(kRoot, name, false);
    if (!spec) {
      if (first) first = spec.error();
      continue;
    }
    fmt::print("{:22} {} ({} arms, {} seeds)\n", name, spec->title, spec->arms.size(), spec->seeds);
  }
  return first;
}

// Writes results.json and report.html from what is done.
Status report(const ExperimentSpec& spec, const std::string& out) {
  const std::string directory = out + "/" + spec.name;
  UNMASK_TRY(const Results results, Results::collect(spec, directory));
  UNMASK_TRY_STATUS(write_file_atomically(directory + "/results.json", results.text()));
  fmt::print("{}/results.json\n", directory);
  if (const Experiment* experiment = find_experiment(spec.name)) {
    UNMASK_TRY_STATUS(
        write_file_atomically(directory + "/report.html", render_experiment(*experiment, results)));
    fmt::print("{}/report.html\n", directory);
  }
  return {};
}

void print_remaining(const RunProgress& progress) {
  constexpr size_t kShown = 5;
  fmt::print("{} of {} stages are done; the same command goes on with\n", progress.finished,
             progress.stages);
  for (size_t i = 0; i < progress.remaining.size() && i < kShown; ++i) {
    fmt::print("  {}\n", progress.remaining[i]);
  }
  if (progress.remaining.size() > kShown) {
    fmt::print("  and {} more\n", progress.remaining.size() - kShown);
  }
}

Status run_command(const Arguments& a) {
  if (a.seeds < 0 || a.side_by_side < 0 || !(a.budget >= 0)) {
    return usage_error("--seeds {} --side-by-side {} --budget {}: expected 0 or more", a.seeds,
                       a.side_by_side, a.budget);
  }
  UNMASK_TRY(const ExperimentSpec spec, read_experiment(kRoot, a.name, a.quick));
  const Deadline deadline(a.budget * 60, stop_on_signal());
  UNMASK_TRY(
      const RunProgress progress,
      run_experiment(spec, {.out = a.directory(), .seeds = a.seeds, .side_by_side = a.side_by_side},
                     deadline.stop()));
  UNMASK_TRY_STATUS(report(spec, a.directory()));
  if (!progress.remaining.empty()) print_remaining(progress);
  return {};
}

Status report_command(const Arguments& a) {
  UNMASK_TRY(const ExperimentSpec spec, read_experiment(kRoot, a.name, a.quick));
  return report(spec, a.directory());
}

Status results_command(const Arguments& a) {
  UNMASK_TRY_STATUS(expect_experiments());
  UNMASK_TRY(const auto adopted, adopt_results(a.directory(), kRoot));
  for (const std::string& name : adopted) log_info("{}/{}/results.json", kRoot, name);
  UNMASK_TRY(const std::string text, results_document(kRoot));
  UNMASK_TRY_STATUS(write_file_atomically(a.document, text));
  fmt::print("{}\n", a.document);
  return {};
}

}  // namespace

void add_experiment(CLI::App& program, Run& run) {
  const auto a = std::make_shared<Arguments>();
  CLI::App* const command =
      program.add_subcommand("experiment", "Test what the papers claim (docs/experiments.md)");
  command->require_subcommand(1);

  command->add_subcommand("list", "Names and sizes")->callback([&run] { run = list; });

  CLI::App* const runs = command->add_subcommand("run", "Run one, or go on with it");
  runs->add_option("--budget", a->budget, "Stop after so many minutes, at a checkpoint")
      ->capture_default_str();
  runs->add_option("--seeds", a->seeds, "How many, in place of the experiment's own number")
      ->check(CLI::Range(1, 10000));
  runs->add_option("--side-by-side", a->side_by_side,
                   "Seeds at the same time, sharing the threads; by default one for each thread");
  runs->callback([&run, a] { run = [a] { return run_command(*a); }; });

  CLI::App* const reports =
      command->add_subcommand("report", "Write results.json and report.html of what is done");
  reports->callback([&run, a] { run = [a] { return report_command(*a); }; });
  for (CLI::App* const c : {runs, reports}) {
    c->add_option("NAME", a->name, "One that `list` shows")->required();
    c->add_flag("--quick", a->quick, "Every stage at toy size; the numbers say nothing");
    c->add_option("--out", a->out,
                  fmt::format("Where runs are, by default {}, or {}", kOut, kQuickOut));
  }

  CLI::App* const results = command->add_subcommand(
      "results", "Take over the results of full runs, and write docs/results.md from them");
  results->add_option("--out", a->document, "The document")->capture_default_str();
  results->add_option("--runs", a->out, fmt::format("Where runs are, by default {}", kOut));
  results->callback([&run, a] { run = [a] { return results_command(*a); }; });
}

}  // namespace unmask::cli
