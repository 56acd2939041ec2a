#include "unmask/report/summary.h"

#include <filesystem>

#include <gtest/gtest.h>

namespace unmask {
namespace {

RunLog demo(const std::string& directory) {
  RunLog run;
  run.directory = directory;
  run.config.parameters = 27'600'000;
  run.config.active_parameters = 5'550'000;
  for (int64_t step = 1; step <= 40; ++step) {
    TrainEvent event;
    event.step = step;
    event.tokens = step * 16384;
    event.seconds = 10.0 * static_cast<double>(step);
    event.loss = step > 38 ? 2.5 + 0.25 * static_cast<double>(step - 39) : 5;
    event.tokens_per_second = step == 1 ? 10 : 12345;
    event.memory_bytes = 1'400'000'000;
    run.train.push_back(event);
  }
  for (const int64_t step : {20, 40}) {
    ValidationEvent event;
    event.step = step;
    event.loss = step == 20 ? 2.25 : 2.75;
    event.perplexity = std::exp(event.loss);
    run.validation.push_back(event);
  }
  RoutingEvent routing;
  routing.layers.resize(2);
  routing.layers[0].max_over_mean_load = 1.5;
  routing.layers[1].max_over_mean_load = 2.5;
  routing.layers[0].experts_per_token_mean = 4;
  routing.layers[1].experts_per_token_mean = 3;
  run.routing.push_back(routing);
  run.end = EndEvent{.step = 40, .tokens = 0, .seconds = 0, .reason = "finished"};
  return run;
}

TEST(Summary, OneRun) {
  const std::vector<RunLog> runs = {demo("runs/demo")};
  EXPECT_EQ(summary_table(runs),
            "run                         demo\n"
            "status                  finished\n"
            "parameters                 27.6M\n"
            "  active per token         5.55M\n"
            "steps                         40\n"
            "tokens                      655k\n"
            "time                        6:40\n"
            "tokens/s                   12.3k\n"
            "memory                   1.40 GB\n"
            "training loss             2.6250\n"
            "validation loss           2.7500\n"
            "  best              2.2500 at 20\n"
            "perplexity                  15.6\n"
            "experts per token           3.50\n"
            "load max/mean               2.00\n");
}

TEST(Summary, RunsSideBySideAndWhatIsNotKnown) {
  RunLog bare;
  bare.directory = "runs/ü\nber";
  bare.train.push_back({.step = 3, .tokens = 4, .seconds = 5, .loss = 6});
  RunLog other = bare;
  other.directory = "runs/other";
  const std::vector<RunLog> runs = {bare, other};
  EXPECT_EQ(summary_table(runs),
            "run                ü?ber      other\n"
            "status         not ended  not ended\n"
            "steps                  3          3\n"
            "tokens                 4          4\n"
            "time                0:05       0:05\n"
            "training loss     6.0000     6.0000\n");
}

TEST(Summary, OfEqualLossesTheFirstIsTheBest) {
  RunLog run = demo("runs/demo");
  run.validation[1].loss = run.validation[0].loss;
  EXPECT_EQ(summarize(run).best_step, 20);
}

TEST(Summary, ThePerplexityFollowsFromTheLoss) {
  RunLog run = demo("runs/demo");
  run.validation.back().perplexity = kNotMeasured;
  EXPECT_DOUBLE_EQ(summarize(run).perplexity, std::exp(2.75));
}

TEST(Summary, MemoryIsTheMostOfTheRun) {
  RunLog run = demo("runs/demo");
  run.train[3].memory_bytes = 2'000'000'000;
  EXPECT_EQ(summarize(run).memory_bytes, 2'000'000'000);
}

TEST(RunNames, AreAsShortAsTheyCanBe) {
  const std::vector<std::string> directories = {"a/x/run", "b/x/run/", "other/.", "./b/y/z/../run"};
  EXPECT_EQ(run_names(directories),
            (std::vector<std::string>{"a/x/run", "b/x/run", "other", "y/run"}));
}

TEST(RunNames, TheDirectoryOneStandsIn) {
  const std::vector<std::string> directories = {"."};
  EXPECT_EQ(run_names(directories)[0], std::filesystem::current_path().filename().string());
}

}  // namespace
}  // namespace unmask
