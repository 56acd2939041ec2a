#include "unmask/diffusion/generation_report.h"

#include "tests/diffusion/tiny_model.h"
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace unmask {
namespace {

TEST(GenerationReport, MeansAreOfWhatWasDenoised) {
  std::vector<Generation> generations(3);  // the last was cancelled before its first step
  generations[0].forwards = 2;
  generations[0].committed = 6;
  generations[0].unique_experts = {4, 2};
  generations[1].forwards = 1;
  generations[1].committed = 3;
  generations[1].unique_experts = {2, 1};
  generations[2].unique_experts = {0, 0};
  GenerateReport report;
  report.forwards = 4;
  report.denoise_forwards = 2;
  report.expert_bytes = 130;
  report.denoise_expert_bytes = 100;
  const auto out = report_json(report, generations, tiny_config());
  EXPECT_EQ(out.at("unique_experts_per_layer"), (std::vector<double>{3, 1.5}));
  EXPECT_EQ(out.at("unique_experts"), 2.25);
  EXPECT_EQ(out.at("tokens_per_forward"), 3.0);
  EXPECT_EQ(out.at("expert_bytes_per_step"), 50);
  EXPECT_EQ(out.at("forwards").at("passes"), 4);
}

}  // namespace
}  // namespace unmask
