// A model is trained, given another policy, and its routers are trained on.
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <string>

#include <gtest/gtest.h>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/retention.h"

namespace unmask {
namespace {

using test::run_unmask;

Parameters load(const std::string& checkpoint, const ParameterLayout& layout) {
  Parameters parameters(layout);
  const Status status = load_parameters(checkpoint, *load_model_config(checkpoint), parameters);
  EXPECT_TRUE(status.ok()) << status.error().message;
  return parameters;
}

TEST(RetrofitCommand, TrainsTheRoutersOfARetrofittedModel) {
  const test::TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "line " + std::to_string(i * 7919 % 1000) + " of text\n";
  const std::string config = directory.write(
      "config.toml", "[data]\npaths = ['" + directory.write("text.txt", text) + R"(']
sequence_length = 32
[model]
layers = 2
hidden = 32
heads = 2
experts = 8
expert_ffn = 16
shared_ffn = 16
[routing]
experts_per_token = 2
balance = {switch = 0.01}
[training]
steps = 5
batch = 4
[evaluation]
sample_length = 8
)");
  const std::string first = directory.path("first"), ec = directory.path("ec"),
                    second = directory.path("second");
  auto outcome = run_unmask("train --quiet --config " + config + " --run " + first);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  outcome = run_unmask("retrofit " + first + " " + ec + " --routing expert-choice");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("expert-choice instead of token-choice"), std::string::npos)
      << outcome.output;

  // A training configuration for the policy in it.
  const std::string scheduled = directory.write(
      "scheduled.toml",
      "base = 'config.toml'\n[routing]\npolicy = 'expert-choice'\nbalance = {switch = 0}\n"
      "capacity = {schedule = 'linear-reverse', min = 1, max = 3, mean = 2}\n");
  outcome = run_unmask("retrofit " + first + " " + directory.path("scheduled") + " --routing " +
                       scheduled);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(load_model_config(directory.path("scheduled"))->routing.capacity.has_value());

  // The configuration's [model] agrees, its [routing] would bring token choice back.
  const std::string more =
      directory.write("more.toml",
                      "base = 'config.toml'\n[routing]\npolicy = 'expert-choice'\nbalance = {}\n"
                      "[training]\nfrom = '" +
                          ec + "'\ntrainable = 'router'\n");
  outcome = run_unmask("train --quiet --config " + more + " --set routing.balance.switch=0 --run " +
                       second);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;

  const std::string trained = checkpoint_path(second, 5);
  const ModelConfig model = *load_model_config(trained);
  EXPECT_EQ(model.routing.policy, RoutingPolicy::Selection::expert_choice);
  const ParameterLayout layout(model);
  const Parameters before = load(ec, layout), after = load(trained, layout);
  for (size_t i = 0; i < layout.table.size(); ++i) {
    const Matrix a = before[static_cast<int>(i)], b = after[static_cast<int>(i)];
    const bool same = std::equal(a.data, a.data + a.size(), b.data);
    EXPECT_EQ(same, !layout.table[i].name.ends_with("router")) << layout.table[i].name;
  }
  EXPECT_EQ(run_unmask("generate " + trained + " --prompt line --length 8").exit_code, 0);

  const auto refused = [](const std::string& arguments, int code, const std::string& words) {
    const auto found = run_unmask(arguments);
    EXPECT_EQ(found.exit_code, code) << found.output;
    EXPECT_NE(found.output.find(words), std::string::npos) << found.output;
  };
  refused("retrofit " + first + " " + directory.path("x"), 2, "--routing");
  refused("retrofit " + first + " " + ec + " --routing top-k", 2, "exists");
  refused("retrofit /nonexistent " + ec + " --routing top-k", 1, "/nonexistent");
  refused("train --quiet --config " + more + " --set model.layers=3 --run " + second, 2,
          "'model.layers': expected 2");
}

}  // namespace
}  // namespace unmask
