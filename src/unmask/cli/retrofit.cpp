#include "unmask/checkpoint/retrofit.h"

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "unmask/base/log.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/routing_flags.h"
#include "unmask/routing/registry.h"

namespace unmask::cli {
namespace {

struct RetrofitArguments {
  std::string model, out;
  RoutingFlags routing;
};

Status retrofit_command(const RetrofitArguments& a) {
  if (!a.routing.routing) {
    return usage_error("--routing: expected the policy that the new checkpoint is to have");
  }
  UNMASK_TRY(const std::string from, find_checkpoint(a.model));
  UNMASK_TRY(ModelConfig config, load_model_config(from));
  const RoutingPolicy before = config.routing;
  UNMASK_TRY_STATUS(a.routing.apply(config));
  UNMASK_TRY_STATUS(retrofit(from, a.out, config.routing));
  log_info("{}: {} instead of {}, the weights of {}", a.out, name_of(config.routing.policy),
           name_of(before.policy), from);
  return {};
}

}  // namespace

void add_retrofit(CLI::App& program, Run& run) {
  const auto a = std::make_shared<RetrofitArguments>();
  CLI::App* command = program.add_subcommand(
      "retrofit", "Give a trained model another routing policy (docs/routing/retrofit.md)");
  command->add_option("MODEL", a->model, "Checkpoint directory, or a training run (its best)")
      ->required();
  command->add_option("OUT", a->out, "Checkpoint directory to make")->required();
  a->routing.add_to(*command);
  command->callback([&run, a] { run = [a] { return retrofit_command(*a); }; });
}

}  // namespace unmask::cli
