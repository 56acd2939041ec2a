#include "tests/report/synthetic_run.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/base/random.h"
#include "unmask/report/metrics_writer.h"

namespace unmask {
namespace {

constexpr int64_t kTokensPerStep = 16384;

class Numbers {
 public:
  explicit Numbers(uint64_t seed) : key_{seed, Purpose::synthetic} {}
  double normal() { return random_normal(key_, next_++); }
  double uniform() { return random_uniform(key_, next_++); }

 private:
  RandomKey key_;
  uint64_t next_ = 0;
};

// Loss at a mask ratio: easy when little is masked, and learnt sooner there.
double loss_at(const SyntheticRun& run, double step, double ratio) {
  const double speed = 90 * (1 + 3 * ratio);
  const double floor = run.final_loss * (0.45 + 1.1 * ratio);
  return floor + (5.55 - floor) * std::pow(1 + step / speed, -0.75);
}

double mean_loss(const SyntheticRun& run, double step) {
  double sum = 0;
  for (int i = 0; i < 20; ++i) sum += loss_at(run, step, (i + 0.5) / 20);
  return sum / 20;
}

double learning_rate(const SyntheticRun& run, int64_t step) {
  const double warm_up = std::min(1.0, static_cast<double>(step) / 100);
  const double decay_begin = 0.8 * static_cast<double>(run.steps);
  const double x = std::max(
      0.0, (static_cast<double>(step) - decay_begin) / (0.2 * static_cast<double>(run.steps)));
  return 1e-3 * warm_up * (0.1 + 0.9 * (2 * std::pow(0.5, x) - 1));
}

ConfigEvent config_of(const SyntheticRun& run) {
  ConfigEvent event;
  event.version = "0.1.0";
  event.configuration = fmt::format(
      R"({{"name":{},"model":{{"layers":{},"hidden":256,"heads":8,"experts":{},"expert_ffn":128,"shared_ffn":256}},)"
      R"("routing":{{"policy":"{}","experts_per_token":4{}}},)"
      R"("train":{{"seed":{},"steps":{},"batch":32,"length":512,"learning_rate":0.001,"warm_up":100,"schedule":"wsd"}},)"
      R"("data":{{"path":"corpus/text.txt","tokenizer":"bytes"}}}})",
      to_text(nlohmann::json(run.name)), run.layers, run.experts,
      run.expert_choice ? "expert-choice" : "token-choice",
      !run.expert_choice   ? R"(,"balance":{"switch_loss":0.01})"
      : run.linear_reverse ? R"(,"capacity":{"schedule":"linear-reverse","min":2,"max":6})"
                           : R"(,"capacity":{"schedule":"constant"})",
      run.seed, run.steps);
  event.parameters = 300'000 * run.layers + run.layers * run.experts * 98'304;
  event.active_parameters = 300'000 * run.layers + run.layers * 4 * 98'304;
  event.flops_per_token = 6.0 * static_cast<double>(event.active_parameters);
  event.machine = {"Intel(R) Xeon(R) @ 2.80GHz", "avx512-vnni", 2, 16LL << 30};
  return event;
}

ValidationEvent validation_at(const SyntheticRun& run, int64_t step, Numbers& numbers) {
  ValidationEvent event;
  event.step = step;
  double sum = 0;
  for (int bin = 0; bin < 100; ++bin) {
    const double loss =
        loss_at(run, static_cast<double>(step), (bin + 0.5) / 100) * (1 + 0.012 * numbers.normal());
    event.bin_loss.push_back(loss);
    event.bin_count.push_back(8);
    sum += loss;
  }
  event.loss = sum / 100;
  event.perplexity = std::exp(event.loss);
  for (const double ratio : {0.1, 0.3, 0.5, 0.7, 0.9}) {
    event.level_mask_ratio.push_back(ratio);
    event.level_loss.push_back(loss_at(run, static_cast<double>(step), ratio));
  }
  return event;
}

RoutingEvent routing_at(const SyntheticRun& run, int64_t step, Numbers& numbers) {
  RoutingEvent event;
  event.step = step;
  const double progress = static_cast<double>(step) / static_cast<double>(run.steps);
  for (int64_t layer = 0; layer < run.layers; ++layer) {
    LayerRouting routing;
    routing.layer = layer;
    // Token choice begins uneven and is balanced by its loss; expert choice is even by
    // construction.
    const double spread = run.expert_choice ? 0.02 : 0.9 * std::exp(-3 * progress) + 0.25;
    std::vector<double> weights;
    double total = 0;
    Numbers preference(run.seed * 1000 + static_cast<uint64_t>(layer));
    for (int64_t expert = 0; expert < run.experts; ++expert) {
      weights.push_back(std::exp(spread * (0.9 * preference.normal() + 0.3 * numbers.normal())));
      total += weights.back();
    }
    const double k = run.expert_choice ? 4.0 + 0.05 * numbers.normal() : 4.0;
    for (const double weight : weights) {
      routing.tokens_per_expert.push_back(std::llround(weight / total * k * kTokensPerStep));
    }
    if (!run.expert_choice && layer == 0 && progress < 0.3) routing.tokens_per_expert[5] = 0;
    routing.experts_per_token_mean = k;
    routing.experts_per_token_min = run.expert_choice ? 0 : 4;
    routing.experts_per_token_max = run.expert_choice ? 15 : 4;
    routing.experts_per_token_std = run.expert_choice ? 2.1 : 0;
    const auto& loads = routing.tokens_per_expert;
    routing.max_over_mean_load =
        static_cast<double>(std::ranges::max(loads)) * static_cast<double>(loads.size()) /
        static_cast<double>(std::accumulate(loads.begin(), loads.end(), int64_t{0}));
    routing.unique_experts = static_cast<double>(std::count_if(routing.tokens_per_expert.begin(),
                                                               routing.tokens_per_expert.end(),
                                                               [](int64_t n) { return n > 0; }));
    routing.unique_experts_per_block = 0.6 * routing.unique_experts;
    routing.entropy = std::log(static_cast<double>(run.experts)) * (0.97 - 0.25 * progress) +
                      0.01 * numbers.normal();
    routing.dropped_share = 0;
    routing.unrouted_share = run.expert_choice ? 0.02 + 0.03 * std::exp(-4 * progress) : 0;
    event.layers.push_back(std::move(routing));
  }
  for (int i = 0; i < 8; ++i) {
    const double ratio = numbers.uniform();
    event.mask_ratio.push_back(ratio);
    event.experts_per_token.push_back(
        run.expert_choice && run.linear_reverse ? std::nearbyint(2 + 4 * (1 - ratio)) : 4);
  }
  return event;
}

void write_samples(const std::string& directory, const SyntheticRun& run) {
  constexpr const char* kTexts[] = {
      "The tree of the wind he ard the sore of to the with and aling",
      "The old house stood at the end of a lane, and nobody had lived in it since the winter.\\n"
      "\\u201cYou will find the key,\\u201d she said, \\u201cwhere you left it.\\u201d",
      "The morning was clear; the boats went out before the sun had risen over the hills.",
  };
  std::ofstream out(directory + "/samples.jsonl");
  for (int i = 0; i < 3; ++i) {
    out << fmt::format(R"({{"step":{},"prompt":"The","text":"{}"}})",
                       i == 0 ? run.steps / 2 : run.steps, kTexts[i])
        << '\n';
  }
}

}  // namespace

void write_synthetic_run(const std::string& directory, const SyntheticRun& run) {
  auto opened = MetricsWriter::create(directory);
  UNMASK_CHECK(opened.ok());
  MetricsWriter& writer = *opened;
  Numbers numbers(run.seed);
  writer.write(config_of(run));
  double seconds = 0;
  const auto at = [&](auto event, int64_t step) {
    event.step = step;
    event.tokens = step * kTokensPerStep;
    event.seconds = seconds;
    return event;
  };
  for (int64_t step = 1; step <= run.steps; ++step) {
    TrainEvent train;
    // Now and then the machine has other things to do.
    train.tokens_per_second = run.tokens_per_second * (1 + 0.015 * numbers.normal()) *
                              (numbers.uniform() < 0.01 ? 0.7 : 1);
    seconds += kTokensPerStep / train.tokens_per_second;
    train.loss = mean_loss(run, static_cast<double>(step)) * (1 + 0.035 * numbers.normal());
    train.switch_loss = run.expert_choice ? 0 : 0.011;
    train.gradient_norm = (0.5 + 3 / (1 + static_cast<double>(step) / 60)) *
                          std::exp(0.15 * numbers.normal()) * (numbers.uniform() < 0.002 ? 6 : 1);
    train.learning_rate = learning_rate(run, step);
    train.model_flops_per_second = train.tokens_per_second * config_of(run).flops_per_token;
    train.memory_bytes = 1'400'000'000;
    writer.write(at(train, step));
    if (step % run.routing_every == 0 || step == 1)
      writer.write(at(routing_at(run, step, numbers), step));
    if (step % run.validation_every == 0 || step == run.steps) {
      seconds += 1.5;
      writer.write(at(validation_at(run, step, numbers), step));
    }
  }
  if (run.ended)
    writer.write(
        at(EndEvent{.step = 0, .tokens = 0, .seconds = 0, .reason = "finished"}, run.steps));
  if (run.samples) write_samples(directory, run);
}

}  // namespace unmask
