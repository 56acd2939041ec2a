#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace unmask::test {
namespace {

const std::string kModel = std::string(UNMASK_SOURCE_DIR) + "/tests/data/golden/D_model_tiny16";

void expect_error(const std::string& arguments, int exit_code, const std::string& part) {
  const Outcome outcome = run_unmask(arguments);
  EXPECT_EQ(outcome.exit_code, exit_code) << arguments << "\n" << outcome.output;
  EXPECT_NE(outcome.output.find(part), std::string::npos) << arguments << "\n" << outcome.output;
}

TEST(GenerateCommand, ContinuesTokenIds) {
  const Outcome once =
      run_unmask("generate " + kModel + " --tokens 1,2,3 --length 8 --ignore-end --quiet");
  EXPECT_EQ(once.exit_code, 0) << once.output;
  EXPECT_EQ(once.output.rfind("1,2,3,", 0), 0u) << once.output;
  EXPECT_EQ(std::count(once.output.begin(), once.output.end(), ','), 10);
  const Outcome json = run_unmask("generate " + kModel + " --tokens '1 2 3' --length 8 --json");
  EXPECT_NE(json.output.find("\"prompt_tokens\":3"), std::string::npos) << json.output;
}

TEST(GenerateCommand, WatchesStepByStepWithoutATerminal) {
  const Outcome outcome = run_unmask("generate " + kModel +
                                     " --tokens 1,2 --length 8 --block-length 32 --steps 8 "
                                     "--ignore-end --watch");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("step 1: 4 committed, 4 masked"), std::string::npos)
      << outcome.output;
}

// The tiny model in a packed file: whether its experts fit into memory changes nothing but time.
TEST(GenerateCommand, ExpertsThatStayInTheirFileGiveTheSameTokens) {
  const TemporaryDirectory directory;
  const std::string packed = directory.path("packed");
  ASSERT_EQ(run_unmask("convert " + kModel + " " + packed + " --format int8").exit_code, 0);
  const std::string arguments =
      "generate " + packed + " --tokens 1,2,3,4,5 --length 40 --ignore-end";
  for (const std::string routing : {"", " --routing block-experts --p 0.6"}) {
    const Outcome resident = run_unmask(arguments + routing + " --quiet");
    ASSERT_EQ(resident.exit_code, 0) << resident.output;
    const Outcome limited = run_unmask(arguments + routing + " --quiet --expert-memory 300KiB");
    EXPECT_EQ(limited.exit_code, 0) << limited.output;
    EXPECT_EQ(limited.output, resident.output);
  }
  const Outcome report = run_unmask(arguments + " --json --expert-memory 300KiB");
  const auto cache = nlohmann::json::parse(report.output)["report"]["expert_cache"];
  EXPECT_GT(cache["read"].get<int64_t>(), 0);
  EXPECT_GT(cache["hit_rate"].get<double>(), 0);
  expect_error(arguments + " --expert-memory 1KiB", 2, "of one layer");
  expect_error("generate " + kModel + " --tokens 1 --expert-memory 1GiB", 2, "unmask convert");
}

TEST(GenerateCommand, SaysWhenTheFileChangesUnderneath) {
  const TemporaryDirectory directory;
  const std::string packed = directory.path("packed");
  ASSERT_EQ(run_unmask("convert " + kModel + " " + packed + " --format int8").exit_code, 0);
  const Outcome outcome =
      run_shell("(sleep 1; truncate -s 8192 " + packed + "/packed.safetensors) & " +
                std::string(UNMASK_BINARY) + " generate " + packed +
                " --tokens 1,2,3 --length 500 --ignore-end --cache off --samples 300");
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_NE(outcome.output.find("while it was in use"), std::string::npos) << outcome.output;
}

TEST(GenerateCommand, RefusesBadInput) {
  expect_error("generate /nowhere --tokens 1", 1, "expected a checkpoint");
  expect_error("generate " + kModel + " --prompt hello", 1, "tokenizer");
  expect_error("generate " + kModel + " --tokens 1,x", 2, "expected ids");
  expect_error("generate " + kModel + " --tokens 100000", 2, "vocabulary");
  expect_error("generate " + kModel + " --tokens 1 --length 100000", 2, "positions");
  expect_error("generate " + kModel + " --tokens 1 --length 510 --block-length 5", 2, "blocks of");
  expect_error("generate " + kModel + " --tokens 1 --sampler best", 2, "quota, threshold");
  expect_error("generate " + kModel + " --tokens 1 --steps 0", 2, "steps");
  expect_error("generate " + kModel + " --tokens 1 --prompt x", 2, "at most 1");
  expect_error("generate", 2, "CHECKPOINT");
}

const std::string kModel32 = std::string(UNMASK_SOURCE_DIR) + "/tests/data/golden/D_model_tiny32";

nlohmann::json json_of(const std::string& arguments) {
  const Outcome outcome = run_unmask(arguments + " --json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  return nlohmann::json::parse(outcome.output, nullptr, false);
}

TEST(GenerateCommand, ReportsWhatItTook) {
  const std::string arguments =
      "generate " + kModel32 + " --tokens 1,2,3 --length 61 --steps 8 --ignore-end";
  const auto out = json_of(arguments);
  const auto& report = out.at("report");
  const auto& forwards = report.at("forwards");
  EXPECT_EQ(forwards.at("denoise"), out.at("generations")[0].at("forwards"));
  EXPECT_EQ(forwards.at("prefill"), 0);
  EXPECT_EQ(forwards.at("commit"), 1);
  EXPECT_EQ(forwards.at("passes"), forwards.at("denoise").get<int>() + 1);
  EXPECT_EQ(report.at("unique_experts_per_layer").size(), 2u);
  EXPECT_GT(report.at("expert_bytes_per_step"), 0);
  EXPECT_GT(report.at("cache_bytes"), 0);
  double sum = 0;
  for (const auto& [part, seconds] : report.at("seconds").items()) {
    EXPECT_GE(seconds, 0.0) << part;
    if (part != "total") sum += seconds.get<double>();
  }
  EXPECT_NEAR(sum, report.at("seconds").at("total"), 1e-9);
  const Outcome text = run_unmask(arguments);
  for (const char* const word : {"denoise", "tokens per denoising forward", "unique experts:",
                                 "expert weights read:", "seconds:", "memory: peak"}) {
    EXPECT_NE(text.output.find(word), std::string::npos) << word << " not in " << text.output;
  }
}

TEST(GenerateCommand, RoutesByAnotherPolicyAtRunTime) {
  const std::string base = "generate " + kModel32 + " --tokens 1,2,3 --length 61 --ignore-end ";
  const auto unique = [&](const std::string& flags) {
    return json_of(base + flags).at("report").at("unique_experts").get<double>();
  };
  const double own = unique("");
  const double few = unique("--routing block-experts --p 0.3 --coreset-min 1");
  const double more = unique("--routing block-experts --p 0.9 --coreset-min 1");
  EXPECT_LT(few, more);
  EXPECT_LT(more, own);
  EXPECT_LT(unique("--routing des-vote --beta 0.25"), 8.001);
  EXPECT_LT(unique("--routing top-k --experts-per-token 4"), own);

  const TemporaryDirectory directory;
  const std::string file = directory.write("policy.toml",
                                           "policy = \"block-experts\"\nexperts_per_token = 6\n"
                                           "weights = \"sigmoid\"\nscale = 2.5\n"
                                           "groups = {count = 4, keep = 3}\n"
                                           "block = {p = 0.9, coreset_min = 1}\n");
  EXPECT_EQ(unique("--routing " + file), more) << "the file says what the flags said";
  EXPECT_EQ(unique("--routing " + file + " --p 0.3"), few);

  expect_error(base + "--routing block-expert", 2, "nearest: block-experts");
  expect_error(base + "--p 0.5", 2, "the policy token-choice has no such key");
  expect_error(base + "--routing block-experts --p 1.5", 2, "between 0 and 1");
  expect_error(base + "--routing top-k --experts-per-token 99", 2, "1 to 32");
  expect_error(base + "--routing " + directory.path("none.toml"), 1, "cannot open");
}

TEST(GenerateCommand, EverySamplerByNameWithItsParameters) {
  const std::string base = "generate " + kModel + " --tokens 1,2,3 --length 40 --quiet ";
  for (const std::string flags :
       {"quota", "threshold --threshold 0.5", "threshold-max --threshold 0.8", "factor --factor 2",
        "hierarchical --threshold 0.8 --low-threshold 0.3",
        "credit --credit-weight 1 --credit-decay 0.5 --credit-power 0.3",
        "entropy-bounded --entropy-bound 1", "random", "low-entropy", "margin",
        "editing --edit-threshold 0.5"}) {
    const Outcome outcome = run_unmask(base + "--sampler " + flags);
    EXPECT_EQ(outcome.exit_code, 0) << flags << ": " << outcome.output;
  }
  expect_error(base + "--sampler credit --factor 2", 2, "no such parameter");
  expect_error(base + "--sampler credit --credit-decay 2", 2, "at most 1");
  expect_error(base + "--top-p 0", 2, "top-p");
  expect_error(base + "--top-k -1", 2, "top-k");
  expect_error(base + "--cache maybe", 2, "auto, on, off, prefix");
  expect_error(base + "--cache dual", 2, "attends in blocks");
  expect_error(base + "--stop x", 2, "--tokens");
}

TEST(GenerateCommand, TheCacheChangesNothing) {
  const std::string base = "generate " + kModel32 +
                           " --tokens 1,2,3 --length 100 --ignore-end --quiet --sampler threshold "
                           "--threshold 0.6 --cache ";
  const Outcome with = run_unmask(base + "auto"), without = run_unmask(base + "off");
  EXPECT_EQ(with.exit_code, 0);
  EXPECT_EQ(with.output, without.output);
}

// `timeout` sends what Ctrl-C sends, in the foreground only once (a second one ends the program at
// once); the generation would take far longer.
TEST(GenerateCommand, InterruptionLeavesWhatWasCommitted) {
  const auto [exit_code, output] =
      run_shell("timeout --foreground --preserve-status -s INT 2 " + std::string(UNMASK_BINARY) +
                " generate " + kModel +
                " --tokens 1,2,3 --length 500 --ignore-end --cache off --samples 100");
  EXPECT_EQ(exit_code, 130) << output;
  EXPECT_EQ(output.rfind("1,2,3", 0), 0u) << output.substr(0, 200);
  EXPECT_NE(output.find("interrupted"), std::string::npos);
}

TEST(EvaluateCommand, RefusesBadInput) {
  expect_error("evaluate /nowhere --data x", 1, "expected a checkpoint");
  expect_error("evaluate " + kModel + " --data x --precision f8", 2, "f32 or bf16");
  expect_error("evaluate " + kModel + " --data x --length -4", 2, "0 or more");
}

}  // namespace
}  // namespace unmask::test
