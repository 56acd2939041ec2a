#include <cmath>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gtest/gtest.h>

#include "unmask/base/files.h"
#include "unmask/report/metrics_fields.h"
#include "unmask/report/metrics_reader.h"
#include "unmask/report/metrics_writer.h"

namespace unmask {
namespace {
namespace fs = std::filesystem;

class Metrics : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "metrics_" + std::to_string(::getpid()) + "_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string file(const char* name = "metrics.jsonl") const { return directory_ + "/" + name; }
  void append(const std::string& text, const char* name = "metrics.jsonl") const {
    std::ofstream(file(name), std::ios::app) << text;
  }

  std::string directory_;
};

TrainEvent train_at(int64_t step) {
  TrainEvent event;
  event.step = step;
  event.tokens = step * 1000;
  event.seconds = 0.5 * static_cast<double>(step);
  event.loss = 5.0 / static_cast<double>(step);
  return event;
}

TEST_F(Metrics, EveryFieldComesBack) {
  ConfigEvent config;
  config.version = "0.1.0";
  config.configuration = "{\"model\": {\"hidden\": 128},\n \"name\": \"q\\\"uote\"}";
  config.parameters = 3'000'000'000;
  config.active_parameters = 12;
  config.flops_per_token = 1.5e9;
  config.machine = {"Xeon \"Gold\"\n", "avx512", 2, 1LL << 40};
  TrainEvent train{7, 7000, 1.25, 3.1, 0.01, 0.02, 0.03, 1.5, 2e-4, 12345.678, 1e11, 1 << 30};
  ValidationEvent validation{8, 8000, 1.5, 3.0, 20.085, {1.0, kNotMeasured}, {4, 0}, {0.1}, {0.7}};
  RoutingEvent routing{
      9,           9000,  2.0, {{1, {3, 0, 5}, 2, 0, 3, 0.5, 1.875, 2, 1.5, 6, 1.0, 0.25, 0.125}},
      {0.5, 0.75}, {8, 4}};
  CheckpointEvent checkpoint{10, 10000, 2.5, "step-10", true, 0.75};
  EndEvent end{11, 11000, 3.0, "finished"};
  {
    auto writer = MetricsWriter::create(directory_);
    ASSERT_TRUE(writer) << writer.error().message;
    writer->write(config);
    writer->write(train);
    writer->write(validation);
    writer->write(routing);
    writer->write(checkpoint);
    writer->write(end);
  }
  const auto run = read_run(directory_);
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_TRUE(run.value().problems.empty());
  const ConfigEvent& c = run.value().config;
  EXPECT_EQ(c.version, config.version);
  EXPECT_EQ(c.configuration, "{\"model\":{\"hidden\":128},\"name\":\"q\\\"uote\"}");
  EXPECT_EQ(c.parameters, config.parameters);
  EXPECT_EQ(c.active_parameters, config.active_parameters);
  EXPECT_EQ(c.flops_per_token, config.flops_per_token);
  EXPECT_EQ(c.machine.processor, config.machine.processor);
  EXPECT_EQ(c.machine.isa, config.machine.isa);
  EXPECT_EQ(c.machine.threads, 2);
  EXPECT_EQ(c.machine.memory_bytes, 1LL << 40);

  ASSERT_EQ(run.value().train.size(), 1u);
  const TrainEvent& t = run.value().train[0];
  EXPECT_EQ(t.step, train.step);
  EXPECT_EQ(t.tokens, train.tokens);
  EXPECT_EQ(t.seconds, train.seconds);
  EXPECT_EQ(t.loss, train.loss);
  EXPECT_EQ(t.switch_loss, train.switch_loss);
  EXPECT_EQ(t.sequence_loss, train.sequence_loss);
  EXPECT_EQ(t.z_loss, train.z_loss);
  EXPECT_EQ(t.gradient_norm, train.gradient_norm);
  EXPECT_EQ(t.learning_rate, train.learning_rate);
  EXPECT_EQ(t.tokens_per_second, train.tokens_per_second);
  EXPECT_EQ(t.model_flops_per_second, train.model_flops_per_second);
  EXPECT_EQ(t.memory_bytes, train.memory_bytes);

  ASSERT_EQ(run.value().validation.size(), 1u);
  const ValidationEvent& v = run.value().validation[0];
  EXPECT_EQ(v.loss, validation.loss);
  EXPECT_EQ(v.perplexity, validation.perplexity);
  ASSERT_EQ(v.bin_loss.size(), 2u);
  EXPECT_EQ(v.bin_loss[0], 1.0);
  EXPECT_TRUE(std::isnan(v.bin_loss[1]));
  EXPECT_EQ(v.bin_count, validation.bin_count);
  EXPECT_EQ(v.level_mask_ratio, validation.level_mask_ratio);
  EXPECT_EQ(v.level_loss, validation.level_loss);

  ASSERT_EQ(run.value().routing.size(), 1u);
  const RoutingEvent& r = run.value().routing[0];
  EXPECT_EQ(r.mask_ratio, routing.mask_ratio);
  EXPECT_EQ(r.experts_per_token, routing.experts_per_token);
  ASSERT_EQ(r.layers.size(), 1u);
  EXPECT_EQ(r.layers[0].layer, 1);
  EXPECT_EQ(r.layers[0].tokens_per_expert, routing.layers[0].tokens_per_expert);
  EXPECT_EQ(r.layers[0].experts_per_token_std, 0.5);
  EXPECT_EQ(r.layers[0].max_over_mean_load, 1.875);
  EXPECT_EQ(r.layers[0].unique_experts_per_block, 1.5);
  EXPECT_EQ(r.layers[0].coreset_size, 6);
  EXPECT_EQ(r.layers[0].unrouted_share, 0.125);

  ASSERT_EQ(run.value().checkpoints.size(), 1u);
  EXPECT_EQ(run.value().checkpoints[0].path, "step-10");
  EXPECT_TRUE(run.value().checkpoints[0].best);
  ASSERT_TRUE(run.value().end.has_value());
  EXPECT_EQ(run.value().end->reason, "finished");
}

TEST_F(Metrics, NonFiniteNumbersAreNull) {
  {
    auto writer = MetricsWriter::create(directory_);
    ASSERT_TRUE(writer);
    TrainEvent event = train_at(1);
    event.loss = std::numeric_limits<double>::infinity();
    writer->write(event);
  }
  EXPECT_NE(read_file(file()).value().find("\"loss\":null"), std::string::npos);
  const auto run = read_run(directory_);
  ASSERT_TRUE(run);
  EXPECT_TRUE(std::isnan(run.value().train[0].loss));
}

TEST_F(Metrics, TornLastLineIsIgnoredAndBadLinesAreNamed) {
  {
    auto writer = MetricsWriter::create(directory_);
    ASSERT_TRUE(writer);
    writer->write(train_at(1));
  }
  append("{\"kind\":\"train\",\"step\":\"two\"}\nnot json\n{\"kind\":\"of tomorrow\"}\n");
  append("{\"kind\":\"train\",\"loss\":1}\n{\"kind\":\"train\",\"step\":1e30}\n");
  append("{\"kind\":\"config\",\"configuration\":3}\n{\"kind\":\"train\",\"step\":3,\"lo");
  const auto run = read_run(directory_);
  ASSERT_TRUE(run);
  EXPECT_EQ(run.value().train.size(), 1u);
  ASSERT_EQ(run.value().problems.size(), 5u);
  EXPECT_NE(run.value().problems[0].find("metrics.jsonl:2: \"step\""), std::string::npos);
  EXPECT_NE(run.value().problems[1].find("metrics.jsonl:3: expected"), std::string::npos);
  EXPECT_NE(run.value().problems[2].find("metrics.jsonl:5: \"step\" is missing"),
            std::string::npos);
  EXPECT_NE(run.value().problems[3].find("metrics.jsonl:6: \"step\""), std::string::npos);
  EXPECT_NE(run.value().problems[4].find("metrics.jsonl:7: \"configuration\""), std::string::npos);
}

TEST_F(Metrics, DeepNestingIsNoEvent) {
  constexpr size_t kDeep = 100000;
  std::string nested;
  for (size_t i = 0; i < kDeep; ++i) nested += "{\"a\":";
  append("{\"kind\":\"train\",\"step\":1}\n{\"kind\":\"config\",\"configuration\":" + nested + "1" +
         std::string(kDeep, '}') + "}\n");
  const auto run = read_run(directory_);
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_EQ(run.value().problems.size(), 1u);
}

TEST_F(Metrics, ResumeDropsWhatCameAfterAndTheTornLine) {
  {
    auto writer = MetricsWriter::create(directory_);
    ASSERT_TRUE(writer);
    writer->write(ConfigEvent{});
    for (int64_t step = 1; step <= 5; ++step) writer->write(train_at(step));
    writer->write(EndEvent{.step = 5, .tokens = 0, .seconds = 0, .reason = "interrupted"});
  }
  append("{\"kind\":\"train\",\"step\":2,\"torn");
  {
    auto writer = MetricsWriter::resume(directory_, 3, 3);
    ASSERT_TRUE(writer) << writer.error().message;
    writer->write(train_at(4));
  }
  const auto run = read_run(directory_);
  ASSERT_TRUE(run);
  EXPECT_TRUE(run.value().problems.empty());
  EXPECT_FALSE(run.value().end.has_value());
  std::vector<int64_t> steps;
  for (const TrainEvent& event : run.value().train) steps.push_back(event.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4}));
}

TEST_F(Metrics, ResumeDropsAValidationThatIsMadeAgain) {
  {
    auto writer = MetricsWriter::create(directory_);
    ASSERT_TRUE(writer);
    for (const int64_t step : {2, 3}) {
      writer->write(train_at(step));
      ValidationEvent event;
      event.step = step;
      writer->write(event);
    }
  }
  ASSERT_TRUE(MetricsWriter::resume(directory_, 3, 2));
  const auto run = read_run(directory_);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->train.size(), 2u);
  ASSERT_EQ(run->validation.size(), 1u);
  EXPECT_EQ(run->validation[0].step, 2);
}

TEST_F(Metrics, ARunThatWentOnHasNotEnded) {
  append("{\"kind\":\"train\",\"step\":1}\n{\"kind\":\"end\",\"step\":1,\"reason\":\"x\"}\n");
  EXPECT_TRUE(read_run(directory_)->end.has_value());
  append("{\"kind\":\"train\",\"step\":2}\n");
  EXPECT_FALSE(read_run(directory_)->end.has_value());
}

TEST_F(Metrics, ResumePassesOverLinesOfOtherTypes) {
  const std::string before =
      "{\"step\":1,\"kind\":5}\n{\"step\":\"x\",\"kind\":\"validation\"}\n[1]\n";
  append(before + "{\"step\":9,\"kind\":null}\n");
  const auto writer = MetricsWriter::resume(directory_, 3, 3);
  ASSERT_TRUE(writer) << writer.error().message;
  EXPECT_EQ(read_file(file()).value(), before);
}

TEST_F(Metrics, ResumeWithoutMetricsBegins) {
  auto writer = MetricsWriter::resume(directory_ + "/new", 100, 100);
  ASSERT_TRUE(writer) << writer.error().message;
  writer->write(train_at(101));
  EXPECT_EQ(read_run(directory_ + "/new").value().train.size(), 1u);
}

TEST_F(Metrics, ANewRunNeverOverwritesAnOldOne) {
  append("{}\n");
  const auto writer = MetricsWriter::create(directory_);
  ASSERT_FALSE(writer);
  EXPECT_NE(writer.error().message.find("resume"), std::string::npos);
  EXPECT_EQ(read_file(file()).value(), "{}\n");
}

TEST_F(Metrics, FullDiskCostsAWarningOnly) {
  fs::create_symlink("/dev/full", file());
  auto writer = MetricsWriter::create(directory_);
  ASSERT_TRUE(writer) << writer.error().message;
  testing::internal::CaptureStderr();
  writer->write(train_at(1));
  writer->write(train_at(2));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("warning: "), log.rfind("warning: ")) << log;
  EXPECT_NE(log.find("training goes on"), std::string::npos) << log;
}

TEST_F(Metrics, MissingRunsSayWhatIsExpected) {
  EXPECT_NE(read_run(directory_ + "/none").error().message.find("no such run directory"),
            std::string::npos);
  EXPECT_NE(read_run(directory_).error().message.find("holds no metrics.jsonl"), std::string::npos);
  append("nonsense\n");
  EXPECT_NE(read_run(file()).error().message.find("found a file"), std::string::npos);
  const std::string message = read_run(directory_).error().message;
  EXPECT_NE(message.find("neither training nor validation"), std::string::npos);
  EXPECT_NE(message.find("metrics.jsonl:1:"), std::string::npos);
}

TEST_F(Metrics, SamplesAreRead) {
  append("{\"kind\":\"train\",\"step\":1}\n");
  append("{\"step\":1,\"prompt\":\"The\",\"text\":\"The end\"}\n{\"te", "samples.jsonl");
  const auto run = read_run(directory_);
  ASSERT_TRUE(run);
  ASSERT_EQ(run.value().samples.size(), 1u);
  EXPECT_EQ(run.value().samples[0].text, "The end");
}

// Others read these lines: a name may not change unnoticed, and each is explained.
TEST(MetricsNames, AreThoseOfTheDocument) {
  const auto document = read_file(UNMASK_SOURCE_DIR "/docs/metrics.md");
  ASSERT_TRUE(document) << document.error().message;
  const auto explained = [&](const char* name, const auto&) {
    EXPECT_NE(document.value().find(fmt::format("`{}`", name)), std::string::npos) << name;
  };
  const Machine machine;
  visit_fields(machine, explained);
  const LayerRouting layer;
  visit_fields(layer, explained);
  const auto explained_event = [&](const auto& event) {
    const std::string section = fmt::format("\n## {}\n", kKind<std::decay_t<decltype(event)>>);
    EXPECT_NE(document.value().find(section), std::string::npos) << section;
    visit_fields(event, explained);
  };
  explained_event(ConfigEvent{});
  explained_event(TrainEvent{});
  explained_event(ValidationEvent{});
  explained_event(RoutingEvent{});
  explained_event(CheckpointEvent{});
  explained_event(EndEvent{});
}

}  // namespace
}  // namespace unmask
