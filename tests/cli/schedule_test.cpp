// unmask schedule from outside.
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_unmask;
using test::TemporaryDirectory;

const std::string kLinearReverse =
    "policy = 'expert-choice'\n[capacity]\nschedule = 'linear-reverse'\nmin = 8\nmax = 32\n";

class ScheduleCommand : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path(name); }

  Outcome schedule(const std::string& policy, const std::string& more = "") const {
    directory_.write("policy.toml", policy);
    return run_unmask("schedule --policy " + path("policy.toml") + " " + more);
  }
  json read(const std::string& policy, const std::string& more = "") const {
    const Outcome outcome = schedule(policy, "--json " + more);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return outcome.exit_code == 0 ? json_in(outcome.output).at(0) : json();
  }
  void refuses(const std::string& policy, const std::string& more, const std::string& word) const {
    const Outcome outcome = schedule(policy, more);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find(word), std::string::npos) << outcome.output;
  }

  TemporaryDirectory directory_;
};

TEST_F(ScheduleCommand, PrintsKAndWhatWholeCapacitiesLeaveOfIt) {
  const json out = read(kLinearReverse,
                        "--experts 64 --sequence-length 100 --hidden 10 --expert-width 7 --rows 3");
  ASSERT_EQ(out.at("rows").size(), 3);
  EXPECT_EQ(out.at("rows")[0].at("k"), 32);
  EXPECT_EQ(out.at("rows")[1].at("k"), 20);
  // floor(100 20 / 64) = 31 tokens for each expert.
  EXPECT_EQ(out.at("rows")[1].at("experts_per_token"), 31 * 64 / 100.0);
  EXPECT_DOUBLE_EQ(out.at("rows")[1].at("flops_per_token"), 6 * 10 * 7 * (31 * 64 / 100.0));
  EXPECT_NEAR(out.at("mean_k").get<double>(), 20, 1e-12);
  EXPECT_LT(out.at("mean_experts_per_token"), 20);
  EXPECT_EQ(read(kLinearReverse).contains("mean_experts_per_token"), false);

  const Outcome text = schedule(kLinearReverse);
  EXPECT_NE(text.output.find("mean       20"), std::string::npos) << text.output;
}

TEST_F(ScheduleCommand, MeetsMeansAndFlops) {
  const json by_mean = read(kLinearReverse, "--set capacity.mean=12.5");
  EXPECT_NEAR(by_mean.at("mean_k").get<double>(), 12.5, 1e-11);
  const std::string sizes = " --experts 64 --sequence-length 100 --hidden 512 --expert-width 384";
  const json by_flops = read(kLinearReverse, "--mean-flops 2e7" + sizes);
  EXPECT_NEAR(by_flops.at("mean_flops_per_token").get<double>(), 2e7, 1e-4);
  // The mean that it prints, written into a file, spends the same.
  const std::string mean = to_text(by_flops.at("policy").at("capacity").at("mean"));
  const json again = read(kLinearReverse, "--set capacity.mean=" + mean + sizes);
  EXPECT_NEAR(again.at("mean_flops_per_token").get<double>(), 2e7, 1e-1);
  refuses(kLinearReverse, "--mean-flops 1e9" + sizes, "--mean-flops: expected a mean between");
  refuses(kLinearReverse, "--mean-flops 1e9", "--hidden");
  refuses("policy = 'token-choice'", "--mean-flops 1e9" + sizes, "no schedule");
}

TEST_F(ScheduleCommand, ReadsATrainingConfiguration) {
  const std::string config = directory_.write(
      "config.toml",
      "name = 'trial'\n[data]\npaths = ['none']\nsequence_length = 64\n[model]\nlayers = 2\n"
      "hidden = 64\nheads = 2\nexperts = 8\nexpert_ffn = 32\nshared_ffn = 64\n[routing]\n"
      "policy = 'expert-choice'\nexperts_per_token = 2\n");
  const Outcome outcome = run_unmask("schedule --json --config " + config);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const json out = json_in(outcome.output).at(0);
  EXPECT_EQ(out.at("name"), "trial");
  EXPECT_EQ(out.at("mean_experts_per_token"), 2);
  // The same number that the plan of the run prints.
  const Outcome plan = run_unmask("train --plan --config " + config);
  EXPECT_NE(plan.output.find("FLOPs per token                 695k"), std::string::npos)
      << plan.output;
  EXPECT_NEAR(out.at("mean_flops_per_token").get<double>(), 695e3, 0.5e3);
  EXPECT_EQ(run_unmask("schedule --config " + config + " --experts 8").exit_code, 2);
}

TEST_F(ScheduleCommand, DrawsSeveralPoliciesInOneFigure) {
  const std::string first = directory_.write("falling.toml", kLinearReverse);
  const std::string second =
      directory_.write("constant.toml", "policy = 'expert-choice'\nexperts_per_token = 20\n");
  const Outcome outcome = run_unmask("schedule --policy " + first + " --policy " + second +
                                     " --plot " + path("figure.svg"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  std::stringstream svg;
  svg << std::ifstream(path("figure.svg")).rdbuf();
  EXPECT_NE(svg.str().find(">falling<"), std::string::npos);
  EXPECT_NE(svg.str().find(">constant<"), std::string::npos);
}

TEST_F(ScheduleCommand, RefusesWhatDoesNotFit) {
  refuses(kLinearReverse, "--experts 31", "at most 31");
  refuses("policy = 'expert-choice'\nexperts_per_token = 9", "--experts 8", "at most 8");
  refuses(kLinearReverse, "--set capacity.mean=40", "between 8 and 32");
  refuses(kLinearReverse, "--rows 1", "--rows");
  refuses(kLinearReverse, "--hidden -3", "--hidden");
  refuses(kLinearReverse + "maxx = 3\n", "", "unknown key 'capacity.maxx'");
  EXPECT_EQ(run_unmask("schedule").exit_code, 2);
  EXPECT_EQ(run_unmask("schedule --policy " + path("absent.toml")).exit_code, 1);
  EXPECT_EQ(schedule(kLinearReverse, "--plot /dev/null/figure.svg").exit_code, 1);
}

}  // namespace
}  // namespace unmask
