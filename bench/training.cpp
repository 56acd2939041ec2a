// Whole training steps at the sizes of the PyTorch comparison (bench/compare_torch):
//   bench_training --size M --router ec --precision bf16 --text corpus.txt --steps 10
// Prints one JSON object: tokens/s of the median step, the model's FLOP/s as the peer counts them,
// and where the time goes.
#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/kernels/isa/isa.h"
#include "unmask/text/corpus.h"
#include "unmask/train/flops.h"
#include "unmask/train/learner.h"
#include "unmask/train/step_reader.h"

namespace unmask {
namespace {

struct Options {
  std::string size = "S", router = "ec", precision = "bf16", text;
  int64_t steps = 10;
};

struct Size {
  int32_t layers, hidden, heads, experts, k, expert_ffn, shared_ffn, batch;
};
const std::map<std::string, Size> kSizes = {{"S", {4, 128, 4, 32, 4, 64, 128, 16}},
                                            {"M", {6, 256, 8, 64, 8, 128, 256, 8}},
                                            {"L", {8, 512, 8, 128, 8, 384, 768, 4}}};

Result<TrainConfig> make_config(const Options& options, const Tokenizer& tokenizer) {
  const Size size = kSizes.at(options.size);
  TrainConfig config;
  ModelConfig& model = config.model;
  model.layers = size.layers;
  model.hidden = size.hidden;
  model.heads = model.kv_heads = size.heads;
  model.head_dim = size.hidden / size.heads;
  model.experts = size.experts;
  model.expert_ffn = size.expert_ffn;
  model.shared_ffn = size.shared_ffn;
  RoutingPolicy& routing = model.routing;
  routing.experts_per_token = size.k;
  if (options.router == "ec") {
    routing.policy = RoutingPolicy::Selection::expert_choice;
  } else {
    routing.balance.switch_loss = 0.01f;
  }
  config.options.precision = options.precision == "f32" ? Precision::f32 : Precision::bf16;
  config.batch = size.batch;
  config.steps = options.steps;
  config.learning_rate = {.peak = 2e-3f, .floor = 2e-4f, .warmup = 100, .steps = 1000};
  UNMASK_TRY_STATUS(adopt_tokenizer(tokenizer, config));
  return config;
}

Result<nlohmann::json> run(const Options& options) {
  UNMASK_TRY(const auto tokenizer, Tokenizer::load("byte"));
  UNMASK_TRY(const TrainConfig config, make_config(options, *tokenizer));
  const std::string paths[] = {options.text};
  UNMASK_TRY(auto source, open_corpus(paths, *tokenizer, config.data.sequence_length));
  UNMASK_TRY(const auto sequences, TrainingSequences::create(std::move(source), {}));
  UNMASK_TRY(Learner learner, Learner::create(config));

  SequenceBatch data;
  std::vector<double> seconds;
  for (int64_t step = 1; step <= options.steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    UNMASK_TRY_STATUS(
        read_step(sequences, (step - 1) * config.step_sequences(), config.step_sequences(), data));
    if (auto done = learner.step(step, data); !done) return done.error();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    if (step == 1) learner.tape().profile = {};
  }
  seconds.erase(seconds.begin());  // touches memory for the first time
  const auto steps = static_cast<double>(seconds.size());
  const Profile& profile = learner.tape().profile;
  const double update = [&] {
    double total = 0;
    for (const double s : seconds) total += s;
    return (total - profile.total) / steps;
  }();
  std::nth_element(seconds.begin(), seconds.begin() + std::ssize(seconds) / 2, seconds.end());
  const double median = seconds[seconds.size() / 2];
  const double rate = static_cast<double>(config.step_tokens()) / median;
  return nlohmann::json{
      {"size", options.size},
      {"router", options.router},
      {"precision", options.precision},
      {"isa", name_of(isa_in_use())},
      {"tokens_per_second", rate},
      {"gflops", rate * flops_per_token(config.model, config.data.sequence_length) / 1e9},
      {"step_seconds", median},
      {"seconds",
       {{"attention", profile.attention / steps},
        {"router", profile.router / steps},
        {"experts", profile.experts / steps},
        {"shared", profile.shared / steps},
        {"head", profile.head / steps},
        {"other", profile.other() / steps},
        {"update_and_data", update}}}};
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  unmask::Options options;
  CLI::App program("Training steps at the sizes of the PyTorch comparison");
  program.add_option("--size", options.size)->check(CLI::IsMember({"S", "M", "L"}));
  program.add_option("--router", options.router)->check(CLI::IsMember({"tc", "ec"}));
  program.add_option("--precision", options.precision)->check(CLI::IsMember({"f32", "bf16"}));
  program.add_option("--text", options.text)->required();
  program.add_option("--steps", options.steps)->check(CLI::Range(2, 1000000));
  CLI11_PARSE(program, argc, argv);
  const auto result = unmask::run(options);
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().message);
    return 1;
  }
  fmt::print("{}\n", result->dump());
}
