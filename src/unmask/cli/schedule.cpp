#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/output_path.h"
#include "unmask/cli/policy_file.h"
#include "unmask/cli/validators.h"
#include "unmask/report/svg_plot.h"
#include "unmask/routing/budget.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/policy_json.h"
#include "unmask/train/config.h"
#include "unmask/train/flops.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

struct ScheduleArguments {
  std::vector<std::string> policies;
  std::vector<std::string> settings;
  std::string config;
  int32_t experts = 0;
  int32_t sequence_length = 0;
  int32_t hidden = 0;
  int32_t expert_width = 0;
  std::optional<double> mean_flops;
  int32_t rows = 21;
  std::string plot;
  std::string title;
  bool json = false;
};

// A policy, and what being given k costs a token, as far as the model is known.
struct Schedule {
  std::string name;
  RoutingPolicy policy;
  CostOfK experts;  // routed experts that it passes through on average; empty = not known
  CostOfK flops;    // empty = not known

  int32_t k(double mask_ratio) const { return experts_per_token(policy, mask_ratio); }
  double mean(const CostOfK& cost) const {
    return varies(policy) ? mean_cost(*policy.capacity, cost) : cost(policy.experts_per_token);
  }
  RoutingPolicy::Capacity::Interval distribution() const {
    return policy.capacity ? policy.capacity->distribution : RoutingPolicy::Capacity::Interval();
  }
};

double nominal(int32_t k) { return k; }

Status check_experts(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_capacity(policy, experts));
  if (policy.experts_per_token <= experts) return {};
  return usage_error("experts_per_token: expected at most {} (the experts), found {}", experts,
                     policy.experts_per_token);
}

// The whole model of a training configuration: FLOPs forward and backward.
Result<Schedule> schedule_of_config(const ScheduleArguments& arguments) {
  UNMASK_TRY(json document, read_layered_toml_file(arguments.config));
  for (const std::string& setting : arguments.settings) {
    UNMASK_TRY_STATUS(set_value(document, setting));
  }
  UNMASK_TRY(TrainConfig config, train_config_from_json(document, arguments.config));
  UNMASK_TRY(const auto tokenizer, Tokenizer::load(config.data.tokenizer, config.data.special));
  UNMASK_TRY_STATUS(adopt_tokenizer(*tokenizer, config));
  const ModelConfig model = config.model;
  const int32_t length = config.data.sequence_length;
  UNMASK_TRY_STATUS(check_experts(model.routing, model.experts));
  return Schedule{
      .name = config.name,
      .policy = model.routing,
      .experts =
          [=](int32_t k) {
            return experts_per_token_given(model.routing, model.experts, length, k);
          },
      .flops = [=](int32_t k) { return flops_per_token_given(model, length, k); },
  };
}

// A policy file with the sizes that flags give: FLOPs of the routed experts of one layer, forward.
Result<Schedule> schedule_of_policy(const std::string& path, const ScheduleArguments& arguments) {
  Schedule schedule = {.name = std::filesystem::path(path).stem().string(),
                       .policy = {},
                       .experts = {},
                       .flops = {}};
  UNMASK_TRY(schedule.policy, read_policy_file(path, arguments.settings));
  const int32_t experts = arguments.experts, length = arguments.sequence_length;
  const Status fits =
      check_experts(schedule.policy, experts > 0 ? experts : std::numeric_limits<int32_t>::max());
  if (!fits) return in_policy_file(fits.error(), path);
  if (experts > 0 && length > 0) {
    schedule.experts = [=, policy = schedule.policy](int32_t k) {
      return experts_per_token_given(policy, experts, length, k);
    };
  }
  if (arguments.hidden > 0 && arguments.expert_width > 0) {
    // Three matrices of hidden x width in each expert, two FLOPs for each weight.
    const double flops = 6.0 * arguments.hidden * arguments.expert_width;
    const CostOfK passed = schedule.experts ? schedule.experts : CostOfK(nominal);
    schedule.flops = [=](int32_t k) { return flops * passed(k); };
  }
  return schedule;
}

// Scales the schedule so that it spends this many FLOPs per token on average.
Status meet_flops(double target, Schedule& schedule) {
  if (!varies(schedule.policy)) {
    return usage_error("--mean-flops: {} has no schedule that could be scaled", schedule.name);
  }
  if (!schedule.flops) {
    return usage_error(
        "--mean-flops: expected --config, or --hidden and --expert-width: FLOPs depend on them");
  }
  RoutingPolicy::Capacity& capacity = *schedule.policy.capacity;
  const auto scale = solve_scale(capacity, target, schedule.flops);
  if (!scale) return usage_error("--mean-flops: {}", scale.error().message);
  capacity.scale = *scale;
  capacity.mean = mean_experts_per_token(capacity);
  return {};
}

json row_of(const Schedule& schedule, double mask_ratio) {
  const int32_t k = schedule.k(mask_ratio);
  json row = {{"mask_ratio", mask_ratio}, {"k", k}};
  if (schedule.experts) row["experts_per_token"] = schedule.experts(k);
  if (schedule.flops) row["flops_per_token"] = schedule.flops(k);
  return row;
}

json described(const Schedule& schedule, int32_t rows) {
  const auto [low, high] = schedule.distribution();
  json out = {{"name", schedule.name},
              {"policy", to_json(schedule.policy)},
              {"distribution", {low, high}},
              {"mean_k", schedule.mean(nominal)}};
  if (schedule.policy.capacity) out["scale"] = schedule.policy.capacity->scale;
  if (schedule.experts) out["mean_experts_per_token"] = schedule.mean(schedule.experts);
  if (schedule.flops) out["mean_flops_per_token"] = schedule.mean(schedule.flops);
  for (int32_t i = 0; i < rows; ++i) {
    out["rows"].push_back(row_of(schedule, static_cast<double>(i) / (rows - 1)));
  }
  return out;
}

void print(const Schedule& schedule, int32_t rows) {
  const auto [low, high] = schedule.distribution();
  fmt::print("{}: {}, k {} to {}\n", schedule.name,
             varies(schedule.policy)
                 ? to_json(schedule.policy)["capacity"]["schedule"].get<std::string>()
                 : "static",
             least_experts_per_token(schedule.policy), most_experts_per_token(schedule.policy));
  if (schedule.policy.capacity && schedule.policy.capacity->mean) {
    fmt::print("meets mean = {}, its shape scaled by {}\n", *schedule.policy.capacity->mean,
               schedule.policy.capacity->scale);
  }
  fmt::print("{:>10} {:>8}{}{}\n", "mask ratio", "k",
             schedule.experts ? "   experts per token" : "",
             schedule.flops ? "   FLOPs per token" : "");
  const auto line = [&](const std::string& label, const auto& value) {
    fmt::print("{:>10} {:>8.6g}", label, value(CostOfK(nominal)));
    if (schedule.experts) fmt::print("{:>20.6g}", value(schedule.experts));
    if (schedule.flops) fmt::print("{:>18.6g}", value(schedule.flops));
    fmt::print("\n");
  };
  for (int32_t i = 0; i < rows; ++i) {
    const double r = static_cast<double>(i) / (rows - 1);
    line(fmt::format("{:.3f}", r), [&](const CostOfK& cost) { return cost(schedule.k(r)); });
  }
  line("mean", [&](const CostOfK& cost) { return schedule.mean(cost); });
  fmt::print("           over mask ratios uniform on [{}, {}]\n", low, high);
}

Plot plot_of(const std::vector<Schedule>& schedules, const std::string& title) {
  constexpr int kSamples = 512;
  Plot plot = {.title = title.empty() ? "Experts per token over the mask ratio" : title,
               .x_label = "mask ratio",
               .y_label = "k, experts per token",
               .curves = {}};
  for (const Schedule& schedule : schedules) {
    Curve curve = {.label = schedule.name, .x = {}, .y = {}, .form = Curve::Form::steps};
    for (int i = 0; i <= kSamples; ++i) {
      const double r = static_cast<double>(i) / kSamples;
      curve.x.push_back(r);
      curve.y.push_back(schedule.k(r));
    }
    plot.curves.push_back(std::move(curve));
  }
  return plot;
}

Status check(const ScheduleArguments& arguments) {
  UNMASK_TRY_STATUS(keep_inputs("--plot", arguments.plot, arguments.policies));
  UNMASK_TRY_STATUS(keep_inputs("--plot", arguments.plot, {arguments.config}));
  if (arguments.policies.empty() == arguments.config.empty()) {
    return usage_error("expected either --policy, or --config");
  }
  for (const auto& [flag, value] : {std::pair{"--experts", arguments.experts},
                                    {"--sequence-length", arguments.sequence_length},
                                    {"--hidden", arguments.hidden},
                                    {"--expert-width", arguments.expert_width}}) {
    if (value > 0 && !arguments.config.empty()) {
      return usage_error("{}: --config says it already", flag);
    }
  }
  if (arguments.rows >= 2) return {};
  return usage_error("--rows: expected 2 or more, found {}", arguments.rows);
}

Status schedule_command(const ScheduleArguments& arguments) {
  UNMASK_TRY_STATUS(check(arguments));
  std::vector<Schedule> schedules;
  if (!arguments.config.empty()) {
    UNMASK_TRY(Schedule schedule, schedule_of_config(arguments));
    schedules.push_back(std::move(schedule));
  }
  for (const std::string& path : arguments.policies) {
    UNMASK_TRY(Schedule schedule, schedule_of_policy(path, arguments));
    schedules.push_back(std::move(schedule));
  }
  if (arguments.mean_flops) {
    for (Schedule& schedule : schedules) {
      UNMASK_TRY_STATUS(meet_flops(*arguments.mean_flops, schedule));
    }
  }
  if (!arguments.plot.empty()) {
    UNMASK_TRY_STATUS(
        write_file_atomically(arguments.plot, render_svg(plot_of(schedules, arguments.title))));
  }
  if (arguments.json) {
    json all = json::array();
    for (const Schedule& schedule : schedules) all.push_back(described(schedule, arguments.rows));
    fmt::print("{}\n", to_text(all));
    return {};
  }
  for (const Schedule& schedule : schedules) print(schedule, arguments.rows);
  return {};
}

}  // namespace

void add_schedule(CLI::App& program, Run& run) {
  const auto a = std::make_shared<ScheduleArguments>();
  CLI::App* command = program.add_subcommand(
      "schedule", "Experts and FLOPs per token over the mask ratio, as a policy spends them");
  command->add_option("--policy,-p", a->policies, "TOML files, keys as in docs/routing")
      ->expected(1, 100)
      ->allow_extra_args();
  command->add_option("--config,-c", a->config, "Training configuration instead, with its model");
  command->add_option("--set", a->settings, "key=value over the file, repeatable")
      ->allow_extra_args(false);
  command->add_option("--experts", a->experts, "Routed experts of a layer")->check(at_least(1));
  command
      ->add_option("--sequence-length", a->sequence_length,
                   "Tokens: with --experts, what whole capacities leave of k")
      ->check(at_least(1));
  const auto hidden = command
                          ->add_option("--hidden", a->hidden,
                                       "Hidden size: with --expert-width, FLOPs of the routed "
                                       "experts of one layer, forward")
                          ->check(at_least(1));
  command->add_option("--expert-width", a->expert_width, "Inner width of an expert")
      ->check(at_least(1))
      ->needs(hidden);
  hidden->needs("--expert-width");
  command->add_option("--mean-flops", a->mean_flops,
                      "Scale the schedule to spend this many FLOPs per token on average, and print "
                      "the mean k to configure");
  command->add_option("--rows", a->rows, "Of the table, mask ratios from 0 to 1")
      ->capture_default_str();
  command->add_option("--plot", a->plot, "SVG of k over the mask ratio");
  command->add_option("--title", a->title, "Of the figure");
  command->add_flag("--json", a->json, "Machine-readable output");
  command->callback([&run, a] { run = [a] { return schedule_command(*a); }; });
}

}  // namespace unmask::cli
