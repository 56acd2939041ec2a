#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_unmask;

TEST(Bench, ComparesExpertsWithTheFloorOfTheSameRun) {
  const Outcome outcome =
      run_unmask("bench moe --shape llada2-mini --format int4 --tokens 1 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const json result = json_in(outcome.output);
  EXPECT_EQ(result["format"], "int4");
  EXPECT_EQ(result["unique"], 8) << "as many as a token chooses";
  // Half a byte a weight, and a scale of two bytes for 64.
  const double weights = 8.0 * 3 * 2048 * 512;
  EXPECT_EQ(result["bytes"].get<double>(), weights / 2 + weights / 64 * 2);
  EXPECT_EQ(result["flops"].get<double>(), 2 * weights);
  const double floor_seconds =
      std::max(result["bytes"].get<double>() / result["read_bandwidth"].get<double>(),
               result["flops"].get<double>() / result["peak"].get<double>());
  EXPECT_NEAR(result["floor_ms"].get<double>(), 1e3 * floor_seconds, 1e-6);
  EXPECT_NEAR(result["to_floor"].get<double>() * result["floor_ms"].get<double>(),
              result["ms"].get<double>(), 1e-6);
  EXPECT_GT(result["ms"].get<double>(), 0);
}

TEST(Bench, CountsWhatAStepOfAModelReads) {
  const test::TemporaryDirectory directory;
  const std::string packed = directory.path("packed");
  const std::string model = UNMASK_SOURCE_DIR "/tests/data/golden/D_model_tiny16";
  ASSERT_EQ(run_unmask("convert " + model + " " + packed + " --format int8").exit_code, 0);
  const std::string command =
      "bench decode --model " + packed + " --tokens 4 --context 8 --steps 2 --expert-memory 300KiB";
  const Outcome outcome = run_unmask(command + " --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const json result = json_in(outcome.output);
  EXPECT_GT(result["bytes"].get<double>(), 0);
  EXPECT_GT(result["flops"].get<double>(), result["f32_flops"].get<double>());
  EXPECT_GT(result["unique"].get<double>(), 0);
  EXPECT_GT(result["expert_cache"]["used"].get<int64_t>(), 0);
  EXPECT_NE(run_unmask(command).output.find("the floor of"), std::string::npos);

  // A position more is keys and values of 2 heads of 16, as bf16, in 4 layers. An expert is 4 tiles
  // of 32 x 128 levels with 32 scales, in 3 layers.
  constexpr double kPositionBytes = 2 * 2 * 16 * 2 * 4, kExpertBytes = 4 * (32 * 128 + 32 * 2) * 3;
  const auto bytes_but_experts = [&](int context) {
    const Outcome measured = run_unmask("bench decode --json --tokens 4 --steps 1 --context " +
                                        std::to_string(context) + " --model " + packed);
    const json step = json_in(measured.output);
    return step["bytes"].get<double>() - step["unique"].get<double>() * kExpertBytes;
  };
  EXPECT_NEAR(bytes_but_experts(16) - bytes_but_experts(8), 8 * kPositionBytes, 1e-3);

  const Outcome unpacked = run_unmask("bench decode --model " + model);
  EXPECT_EQ(unpacked.exit_code, 2);
  EXPECT_NE(unpacked.output.find("unmask convert"), std::string::npos) << unpacked.output;
  EXPECT_EQ(run_unmask("bench decode --layers 2 --model " + packed).exit_code, 2);
  const Outcome ragged = run_unmask("bench decode --model " + packed + " --tokens 4 --context 9");
  EXPECT_EQ(ragged.exit_code, 2);
  EXPECT_NE(ragged.output.find("multiple of the block"), std::string::npos) << ragged.output;
}

TEST(Bench, NamesThePermittedRange) {
  const Outcome experts = run_unmask("bench moe --tokens 2 --unique 17");
  EXPECT_EQ(experts.exit_code, 2);
  EXPECT_NE(experts.output.find("expected 8 to 16"), std::string::npos) << experts.output;
  const Outcome few = run_unmask("bench decode --layers 2 --unique 7");
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_NE(few.output.find("expected 0 (as routed) or 8 to 256"), std::string::npos) << few.output;
  const Outcome group = run_unmask("bench moe --format int4 --group 48");
  EXPECT_EQ(group.exit_code, 2);
  EXPECT_NE(group.output.find("multiple of 32"), std::string::npos) << group.output;
  EXPECT_EQ(run_unmask("bench moe --format int3").exit_code, 2);
  EXPECT_EQ(run_unmask("bench moe --format bf16 --group 64").exit_code, 2);
}

}  // namespace
}  // namespace unmask
