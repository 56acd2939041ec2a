// unmask route from outside: recordings of public code through files, gradients, and bad input.
#include "tests/cli/program.h"
#include "tests/support/golden.h"
#include "tests/support/numeric.h"
#include "tests/support/temporary_directory.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/base/random.h"
#include "unmask/checkpoint/safetensors.h"

namespace unmask {
namespace {

using nlohmann::json;
using test::GoldenCase;
using test::Outcome;
using test::run_unmask;
using test::TemporaryDirectory;

struct Named {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<float> values;  // of any type
};

void write_tensors(const std::string& path, const std::vector<Named>& tensors) {
  std::vector<TensorSpec> specs;
  for (const Named& t : tensors) specs.push_back({t.name, t.dtype, t.shape});
  auto writer = SafetensorsWriter::create(path, specs);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  for (const Named& t : tensors) {
    if (t.dtype == DType::u8) {
      ASSERT_TRUE(writer->append(std::vector<uint8_t>(t.values.begin(), t.values.end())).ok());
    } else {
      ASSERT_TRUE(writer->append(t.values).ok());
    }
  }
  ASSERT_TRUE(writer->finish().ok());
}

struct Written {
  explicit Written(const std::string& path) : file(Safetensors::open(path).value()) {}
  std::vector<float> f32(const std::string& name) const {
    const Tensor& tensor = *file.find(name);
    std::vector<float> values(tensor.elements());
    EXPECT_TRUE(file.read(tensor, std::span(values)).ok());
    return values;
  }
  std::vector<int64_t> i64(const std::string& name) const {
    const Tensor& tensor = *file.find(name);
    std::vector<int64_t> values(tensor.elements());
    EXPECT_TRUE(file.read(tensor, std::span(values)).ok());
    return values;
  }
  std::string form(const std::string& name) const {
    const Tensor* tensor = file.find(name);
    if (tensor == nullptr) return "none";
    return std::string(dtype_name(tensor->dtype)) + " " + shape_text(tensor->shape);
  }
  Safetensors file;
};

class Route : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path(name); }

  // Logits that tell experts and tokens apart, the same in every run.
  std::vector<Named> synthetic(int64_t b, int64_t s, int64_t e) const {
    std::vector<float> logits(b * s * e);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = random_normal({7}, i);
    return {{"logits", DType::f32, {b, s, e}, std::move(logits)}};
  }

  Outcome route(const std::string& policy, const std::vector<Named>& input,
                const std::string& more = "") const {
    write_tensors(path("in"), input);
    directory_.write("policy.toml", policy);
    return run_unmask("route --policy " + path("policy.toml") + " --in " + path("in") + " --out " +
                      path("out") + " " + more);
  }

  // The words of the error that a refused call ends with.
  void refuses(const std::string& policy, const std::vector<Named>& input,
               const std::vector<std::string>& words, const std::string& more = "") const {
    std::filesystem::remove(path("out"));
    const Outcome outcome = route(policy, input, more);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    for (const std::string& word : words) {
      EXPECT_NE(outcome.output.find(word), std::string::npos) << word << " in " << outcome.output;
    }
    EXPECT_FALSE(std::filesystem::exists(path("out"))) << "nothing is left behind";
  }

  // Ours and the recorded rows of EC-DLM, which are token-major: row s * B + b.
  static std::vector<float> sequence_major(const std::vector<float>& recorded, int64_t b,
                                           int64_t s) {
    const int64_t cols = std::ssize(recorded) / (b * s);
    std::vector<float> ours(recorded.size());
    for (int64_t t = 0; t < b * s; ++t) {
      std::copy_n(recorded.begin() + (t % s * b + t / s) * cols, cols, ours.begin() + t * cols);
    }
    return ours;
  }

  TemporaryDirectory directory_;
};

void expect_near(const std::vector<float>& found, const std::vector<float>& expected,
                 double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], tolerance * std::max(1.0f, std::abs(expected[i]))) << i;
  }
}

TEST_F(Route, RoutesAsThePublicGateOfLLaDA2) {
  const GoldenCase golden("C_gate_grad_E16_b2_s32");
  const auto& config = golden.config();
  const int64_t b = config.at("bsz"), s = config.at("seq_len"), e = config.at("num_experts");
  write_tensors(path("grads"), {{"dgates", DType::f32, {b * s, e}, golden.f32("G").values}});
  const Outcome outcome = route(
      "policy = 'token-choice'\nweights = 'sigmoid'\nexperts_per_token = 4\nscale = 2.5\n"
      "[groups]\ncount = 4\nkeep = 2\n",
      {{"logits", DType::f32, {b, s, e}, golden.f32("logits").values},
       {"expert_bias", DType::f32, {e}, golden.f32("expert_bias").values}},
      "--backward " + path("grads"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;

  const Written written(path("out"));
  EXPECT_EQ(written.form("indices"), "I32 [64, 4]");
  EXPECT_EQ(written.form("weights"), "F32 [64, 4]");
  EXPECT_EQ(written.form("routing_map"), "U8 [64, 16]");
  EXPECT_EQ(written.form("gates"), "F32 [64, 16]");
  EXPECT_EQ(written.form("dlogits"), "F32 [2, 32, 16]");
  EXPECT_EQ(written.form("dlogits_balance"), "none");

  const auto index = golden.i64("original.topk_idx").values;
  const auto weight = golden.f32("original.topk_weight").values;
  std::vector<float> gates(b * s * e);
  for (size_t i = 0; i < index.size(); ++i) gates[i / 4 * e + index[i]] = weight[i];
  // Recordings are within 1e-6 of f64; ours within the roundings of a few sums of k terms.
  const double tolerance = 1e-6 + 32 * kEpsilonF32;
  expect_near(written.f32("gates"), gates, tolerance);
  expect_near(written.f32("dlogits"), golden.f32("original.grad_logits").values, tolerance);

  // The lists say the same as the maps, ordered by expert.
  const auto indices = written.i64("indices"), map = written.i64("routing_map");
  const auto weights = written.f32("weights"), written_gates = written.f32("gates");
  for (int64_t t = 0; t < b * s; ++t) {
    int64_t at = t * 4;
    for (int64_t i = 0; i < e; ++i) {
      EXPECT_EQ(map[t * e + i] != 0, gates[t * e + i] != 0);
      if (map[t * e + i] == 0) continue;
      EXPECT_EQ(indices[at], i);
      EXPECT_EQ(weights[at++], written_gates[t * e + i]);
    }
    EXPECT_EQ(at, t * 4 + 4);
  }
}

TEST_F(Route, LetsExpertsChooseAsThePublicCode) {
  const GoldenCase golden("B_ec_route_E16_s32_b3_k4");
  const auto& config = golden.config();
  const int64_t b = config.at("bsz"), s = config.at("seq_length"), e = config.at("num_experts");
  const Outcome outcome =
      route("policy = 'expert-choice'\nexperts_per_token = 4\n",
            {{"logits", DType::f32, {b, s, e}, sequence_major(golden.f32("logits").values, b, s)}});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const Written written(path("out"));
  expect_near(written.f32("gates"),
              sequence_major(golden.f32("seq.static.softmax.probs").values, b, s),
              1e-6 + 32 * kEpsilonF32);
  EXPECT_EQ(written.i64("capacity"), std::vector<int64_t>(3, 32 * 4 / 16));
  // Tokens with fewer experts than the most end in -1 and weight 0.
  const auto indices = written.i64("indices");
  const auto weights = written.f32("weights");
  EXPECT_NE(std::count(indices.begin(), indices.end(), -1), 0);
  for (size_t i = 0; i < indices.size(); ++i) {
    EXPECT_TRUE(indices[i] >= 0 || weights[i] == 0) << i;
  }
  const json statistics = json_in(outcome.output);
  EXPECT_EQ(statistics.at("k"), json::array({4, 4, 4}));
  EXPECT_EQ(statistics.at("tokens_per_expert").at("std"), 0);
}

TEST_F(Route, GivesEverySequenceTheKOfItsMaskRatio) {
  const std::string policy =
      "policy = 'expert-choice'\n[capacity]\nschedule = 'linear-reverse'\nmin = 2\nmax = 6\n";
  auto input = synthetic(3, 8, 8);
  refuses(policy, input, {"masked", "U8 [3, 8]", "follows the mask ratio"});
  std::vector<float> masked(24);
  std::fill(masked.begin() + 8, masked.begin() + 12, 1.0f);  // half of the second sequence
  std::fill(masked.begin() + 16, masked.end(), 1.0f);        // all of the third
  input.push_back({"masked", DType::u8, {3, 8}, masked});
  const Outcome outcome = route(policy, input);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(json_in(outcome.output).at("k"), json::array({6, 4, 2}));
  EXPECT_EQ(Written(path("out")).i64("capacity"), (std::vector<int64_t>{6, 4, 2}));
}

// The coresets of dMoE's training forward pass, and tokens that stay inside of them.
TEST_F(Route, WritesTheCoresetOfEveryBlock) {
  const auto input = synthetic(2, 10, 16);
  const Outcome outcome = route(
      "policy = 'block-experts'\nweights = 'sigmoid'\nexperts_per_token = 2\n[block]\nsize = 4\n"
      "p = 0.3\ncoreset_min = 3\n",
      input);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const Written written(path("out"));
  ASSERT_EQ(written.form("coreset"), "U8 [6, 16]");  // 4, 4 and 2 tokens of each sequence
  EXPECT_EQ(written.form("capacity"), "none");
  const auto coreset = written.i64("coreset"), map = written.i64("routing_map");
  for (int64_t t = 0; t < 20; ++t) {
    const int64_t block = t / 10 * 3 + t % 10 / 4;
    for (int64_t e = 0; e < 16; ++e) {
      EXPECT_LE(map[t * 16 + e], coreset[block * 16 + e]) << t << " " << e;
    }
  }
  const double size = json_in(outcome.output).at("coreset_size").at("mean");
  EXPECT_EQ(size, std::accumulate(coreset.begin(), coreset.end(), 0.0) / 6);
  EXPECT_GE(size, 3);
  EXPECT_LT(size, 16);
}

// Both gradients against differences of what the command itself prints and writes.
TEST_F(Route, GradientsAreThoseOfTheGatesAndOfTheLosses) {
  const std::string policy =
      "policy = 'token-choice'\nexperts_per_token = 2\n[balance]\nz = 0.5\nswitch = 0.25\n";
  const int64_t e = 5;
  auto input = synthetic(1, 4, e);
  std::vector<float> g(4 * e);
  for (size_t i = 0; i < g.size(); ++i) g[i] = random_normal({8}, i);
  write_tensors(path("grads"), {{"dgates", DType::f32, {4, e}, g}});
  struct Losses {
    double gates, balance;
  };
  const auto run = [&](const std::vector<Named>& tensors) -> Losses {
    const Outcome outcome = route(policy, tensors, "--backward " + path("grads"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    const auto gates = Written(path("out")).f32("gates");
    const json balance = json_in(outcome.output).at("balance");
    EXPECT_NEAR(balance.at("total").get<double>(),
                balance.at("z").get<double>() + balance.at("switch").get<double>(), 1e-6);
    return {std::inner_product(gates.begin(), gates.end(), g.begin(), 0.0),
            balance.at("total").get<double>()};
  };
  run(input);
  const auto d_logits = Written(path("out")).f32("dlogits"),
             d_balance = Written(path("out")).f32("dlogits_balance");
  constexpr float kStep = 1.0f / 64;
  for (const size_t i : {0, 3, 7, 13, 19}) {
    auto above = input, below = input;
    above[0].values[i] += kStep;
    below[0].values[i] -= kStep;
    const Losses up = run(above), down = run(below);
    // Error of the difference: step^2 of a third derivative of order 1, and roundings / step.
    const double tolerance = double{kStep * kStep} + 16 * kEpsilonF32 / double{kStep};
    EXPECT_NEAR(d_logits[i], (up.gates - down.gates) / (2 * double{kStep}), tolerance) << i;
    EXPECT_NEAR(d_balance[i], (up.balance - down.balance) / (2 * double{kStep}), tolerance) << i;
  }
}

TEST_F(Route, SweepsAKeyAndDrawsFigures) {
  write_tensors(path("in"), synthetic(2, 16, 8));
  directory_.write("policy.toml", "policy = 'token-choice'\nexperts_per_token = 2\n");
  const std::string command =
      "route --policy " + path("policy.toml") + " --in " + path("in") + " --plot " + path("a.svg");
  const Outcome swept = run_unmask(command + " --sweep experts_per_token=2,4,8");
  ASSERT_EQ(swept.exit_code, 0) << swept.output;
  const json all = json_in(swept.output);
  ASSERT_EQ(all.size(), 3);
  EXPECT_EQ(all[1].at("setting"), "experts_per_token=4");
  EXPECT_EQ(all[1].at("statistics").at("experts_per_token").at("mean"), 4);
  std::stringstream svg;
  svg << std::ifstream(path("a.svg")).rdbuf();
  EXPECT_NE(svg.str().find("unique_experts_per_block"), std::string::npos);

  EXPECT_EQ(run_unmask(command).exit_code, 0);
  std::stringstream load;
  load << std::ifstream(path("a.svg")).rdbuf();
  EXPECT_NE(load.str().find("max / mean"), std::string::npos);
  EXPECT_EQ(run_unmask(command + " --sweep experts_per_token=2,9").exit_code, 2);
  for (const char* name : {"nothing", "a~b", "load", "load.99", "load.x", "experts_per_token",
                           "experts_per_token.mean."}) {
    EXPECT_EQ(run_unmask(command + " --sweep experts_per_token=2 --show " + name).exit_code, 2);
  }
}

TEST_F(Route, RefusesInputThatCannotBe) {
  const std::string policy = "policy = 'token-choice'\nexperts_per_token = 2\n";
  const auto good = synthetic(2, 3, 4);
  ASSERT_EQ(route(policy, good).exit_code, 0);

  refuses(policy, {{"logit", DType::f32, {1}, {0}}}, {"\"logits\"", "only logit"});
  refuses(policy, {{"logits", DType::bf16, {2, 3, 4}, good[0].values}}, {"F32", "BF16"});
  refuses(policy, {{"logits", DType::f32, {6, 4}, good[0].values}},
          {"[sequences, tokens, experts]", "[6, 4]"});
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{0, 3, 4}, {2, 0, 4}, {2, 3, 0}}) {
    refuses(policy, {{"logits", DType::f32, shape, {}}}, {"at least one"});
  }
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    auto input = good;
    input[0].values[17] = bad;
    refuses(policy, input, {"logits[1, 1, 1]", "finite"});
  }
  auto input = good;
  input.push_back({"expert_bias", DType::f32, {3}, {0, 0, 0}});
  refuses(policy, input, {"expert_bias", "[4]", "[3]"});
  input.back() = {"expert_bias", DType::f32, {4}, {0, 0, NAN, 0}};
  refuses(policy, input, {"expert_bias[2]"});
  input.back() = {"masked", DType::u8, {3, 2}, {0, 0, 0, 0, 0, 0}};
  refuses(policy, input, {"masked", "[2, 3]"});
  input.back() = {"masked", DType::u8, {2, 3}, {0, 0, 0, 0, 2, 0}};
  refuses(policy, input, {"masked[1, 1]", "found 2"});
  input.back() = {"masked", DType::f32, {2, 3}, {0, 0, 0, 0, 1, 0}};
  refuses(policy, input, {"masked", "U8"});

  write_tensors(path("grads"), {{"dgates", DType::f32, {5, 4}, std::vector<float>(20)}});
  refuses(policy, good, {"dgates", "[6, 4]", "[5, 4]"}, "--backward " + path("grads"));
  write_tensors(path("grads"), {{"gates", DType::f32, {6, 4}, std::vector<float>(24)}});
  refuses(policy, good, {"\"dgates\""}, "--backward " + path("grads"));
}

TEST_F(Route, AGradientNeedsAFileToGoTo) {
  const Outcome outcome =
      run_unmask("route --policy " + directory_.write("p.toml", "experts_per_token = 2\n") +
                 " --in " + path("in") + " --backward " + path("grads"));
  EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
  EXPECT_NE(outcome.output.find("--backward: expected --out"), std::string::npos) << outcome.output;
}

TEST_F(Route, RefusesPoliciesThatDoNotFit) {
  const auto input = synthetic(2, 3, 4);
  const std::string file = path("policy.toml") + ": ";
  refuses("policy = 'token-choice'\nexperts_per_token = 5\n", input,
          {file, "experts_per_token", "1 to 4", "found 5"});
  refuses("policy = 'token-choise'\n", input, {"nearest: \"token-choice\""});
  refuses("polic = 'token-choice'\n", input, {"unknown key 'polic'", "did you mean 'policy'"});
  refuses("weights = 'sigmoid'\nexperts_per_token = 2\n[groups]\ncount = 3\nkeep = 1\n", input,
          {"groups.count", "divisor of the 4 experts", "found 3"});
  refuses(
      "policy = 'expert-choice'\nexperts_per_token = 2\n[capacity]\nschedule = 'bell'\nmin = 3\n"
      "max = 2\n",
      input, {"capacity", "min = 3, max = 2"});
  refuses("policy = 'token-choice'\nexperts_per_token = 2\nscale = 'monte-carlo'\n", input,
          {"scale", "shared"});
  EXPECT_EQ(route("policy = 'token-choice'\nexperts_per_token = 2\nscale = 'monte-carlo'\n", input,
                  "--shared-experts 2")
                .exit_code,
            0);
  refuses("experts_per_token = 2\n", input, {"--shared-experts", "0 or more"},
          "--shared-experts -1");
}

TEST_F(Route, ExitCodesTellUsageFromFailure) {
  write_tensors(path("in"), synthetic(1, 2, 4));
  directory_.write("policy.toml", "experts_per_token = 2\n");
  const auto run = [&](const std::string& policy, const std::string& in, const std::string& out) {
    return run_unmask("route --policy " + path(policy) + " --in " + path(in) + " --out " +
                      path(out));
  };
  EXPECT_EQ(run("policy.toml", "in", "out").exit_code, 0);
  std::filesystem::create_symlink("out", path("link"));
  EXPECT_EQ(run("policy.toml", "in", "link").exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
  EXPECT_TRUE(Safetensors::open(path("out")).ok());
  EXPECT_EQ(run("absent.toml", "in", "out").exit_code, 1);
  EXPECT_EQ(run("policy.toml", "absent", "out").exit_code, 1);
  const Outcome unwritable = run("policy.toml", "in", "policy.toml/out");
  EXPECT_EQ(unwritable.exit_code, 1);
  EXPECT_NE(unwritable.output.find("policy.toml"), std::string::npos);
  EXPECT_EQ(run("policy.toml", "in", "in").exit_code, 2);
  EXPECT_TRUE(Safetensors::open(path("in")).ok()) << "the input is still there";
  EXPECT_EQ(run_unmask("route").exit_code, 2);
  directory_.write("damaged", "not safetensors");
  EXPECT_EQ(run("policy.toml", "damaged", "out").exit_code, 1);
}

}  // namespace
}  // namespace unmask
