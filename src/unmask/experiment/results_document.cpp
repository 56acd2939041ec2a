#include "unmask/experiment/results_document.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "unmask/base/files.h"
#include "unmask/base/readable.h"
#include "unmask/experiment/experiment.h"

namespace unmask {
namespace {

constexpr const char* kHead = R"(# What the papers claim, and what is seen here

Written by `unmask experiment results` from `experiments/NAME/results.json`; do not edit.

A = "Expert-Choice Routing Enables Adaptive Computation in Diffusion Language Models"
([arXiv 2604.01622](https://arxiv.org/abs/2604.01622)), B = "dMoE: dLLMs with Learnable Block Experts"
([arXiv 2605.30876](https://arxiv.org/abs/2605.30876)). Their models have thousands of times the
parameters of these, so that what is tested is whether an effect is there, and how large it is here.

**The rule.** Every claim is put as conditions on numbers. A number is the mean over seeds with its 95 %
interval (Student's t); arms are compared seed by seed, since those of one seed share data order, noise
and, where shapes agree, initialisation. A condition is met when the whole interval is on the asked side
of its bound and broken when it is on the other. A claim **holds** when all of its conditions are met,
**does not hold** when any is broken, and **cannot be seen at this scale** otherwise. How each
experiment runs: [experiments.md](experiments.md).
)";

std::string path_of(const std::string& root, const std::string& name) {
  return fmt::format("{}/{}/results.json", root, name);
}

// Of a number that the trainings of all arms have, the smallest and the largest.
std::string range_text(const Results& results, const std::string& name) {
  double low = 0, high = 0;
  for (const std::string& arm : results.arms()) {
    for (const char* stage : {"train", "distill"}) {
      const double mean = results.interval(arm, fmt::format("{}.{}", stage, name)).mean;
      if (!std::isfinite(mean)) continue;
      low = low > 0 ? std::min(low, mean) : mean;
      high = std::max(high, mean);
    }
  }
  const std::string from = readable_count(low), to = readable_count(high);
  return from == to ? from : fmt::format("{} to {}", from, to);
}

std::string scale_text(const Results& results) {
  const auto& document = results.document();
  const auto finished = results.complete() ? "" : ", of which not all are finished";
  return fmt::format(
      "{} arms, {} seeds ({} to {}){}; {} parameters, {} tokens of training a run; {} of one "
      "core's time on {} ({}), unmask {}.",
      results.arms().size(), results.seeds().size(), results.seeds().front(),
      results.seeds().back(), finished, range_text(results, "parameters"),
      range_text(results, "tokens"), readable_duration(document["core_seconds"]),
      document["machine"]["processor"].get<std::string>(),
      document["machine"]["isa"].get<std::string>(), document["version"].get<std::string>());
}

std::string claim_text(const Claim& claim, const std::optional<Results>& results) {
  std::string text = fmt::format("### {}\n\n{}, {}.\n\n", claim.text, claim.paper, claim.source);
  if (!results) return text + "Not run yet.\n";
  const auto conditions = claim.conditions(*results);
  for (const Condition& condition : conditions) {
    text += fmt::format("- {}\n", condition_text(condition));
  }
  const Verdict verdict = verdict_of(conditions);
  return text + fmt::format("\n**{}{}.** {}\n",
                            static_cast<char>(std::toupper(name_of(verdict)[0])),
                            name_of(verdict).substr(1), claim.why(verdict));
}

std::string summary_row(const Experiment& experiment, const Claim& claim,
                        const std::optional<Results>& results) {
  const std::string verdict =
      results ? std::string(name_of(verdict_of(claim.conditions(*results)))) : "not run yet";
  return fmt::format("| {} | {} | [{}](#{}) | {} |\n", claim.paper, claim.text, experiment.name,
                     experiment.name, verdict);
}

std::string table_text(const Table& table) {
  std::string text = fmt::format("\n{}:\n\n", table.title);
  const auto row = [&](const std::vector<std::string>& cells) {
    for (const std::string& cell : cells) text += fmt::format("| {} ", cell);
    text += "|\n";
  };
  row(table.head);
  for (size_t i = 0; i < table.head.size(); ++i) text += "|---";
  text += "|\n";
  for (const auto& cells : table.rows) row(cells);
  return text;
}

std::string experiment_text(const Experiment& experiment, const std::optional<Results>& results) {
  std::string text =
      fmt::format("\n## {}\n\n    scripts/experiment {}\n", experiment.name, experiment.name);
  if (results) text += fmt::format("\n{}\n", scale_text(*results));
  for (const Claim& claim : experiment.claims)
    text += fmt::format("\n{}", claim_text(claim, results));
  if (!results) return text;
  for (const Table& table : experiment.report(*results).tables) {
    if (!table.rows.empty()) text += table_text(table);
  }
  return text;
}

Result<std::optional<Results>> read_results(const std::string& path) {
  if (!path_exists(path)) return std::optional<Results>();
  UNMASK_TRY(Results results, Results::read(path));
  return std::optional(std::move(results));
}

int64_t stages_done(const Results& results) {
  int64_t done = 0;
  for (const auto& arm : results.document()["arms"]) {
    for (const auto& run : arm["runs"]) done += std::ssize(run["stages"]);
  }
  return done;
}

}  // namespace

Result<std::string> results_document(const std::string& root) {
  std::string rows, sections;
  for (const Experiment& experiment : experiments()) {
    UNMASK_TRY(const auto results, read_results(path_of(root, std::string(experiment.name))));
    for (const Claim& claim : experiment.claims) rows += summary_row(experiment, claim, results);
    sections += experiment_text(experiment, results);
  }
  return fmt::format("{}\n| paper | claim | experiment | verdict |\n|---|---|---|---|\n{}{}", kHead,
                     rows, sections);
}

Result<std::vector<std::string>> adopt_results(const std::string& out, const std::string& root) {
  std::vector<std::string> adopted;
  for (const Experiment& experiment : experiments()) {
    const std::string name(experiment.name);
    UNMASK_TRY(const auto found, read_results(path_of(out, name)));
    if (!found || found->quick()) continue;
    UNMASK_TRY(const auto kept, read_results(path_of(root, name)));
    if (kept && stages_done(*kept) > stages_done(*found)) continue;
    UNMASK_TRY_STATUS(write_file_atomically(path_of(root, name), found->brief().text()));
    adopted.push_back(name);
  }
  return adopted;
}

}  // namespace unmask
