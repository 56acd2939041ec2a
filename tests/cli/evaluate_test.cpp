#include "tests/cli/byte_model.h"
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask::test {
namespace {

TEST(EvaluateCommand, RefusesBadInput) {
  for (const char* seed : {"18446744073709551616", "-1", "1.5", "''"}) {
    expect_error("evaluate " + kModel + " --data x --seed " + seed, 2, "whole number from 0");
  }
  expect_error("evaluate /nowhere --data x", 1, "expected a checkpoint");
  expect_error("evaluate " + kModel + " --data x --precision f8", 2, "bf16, f32");
  expect_error("evaluate " + kModel + " --data x --length -4", 2, "0 or more");
  expect_error("evaluate " + kModel + " --task piqa --data x --data y", 2, "one directory");
}

TEST(EvaluateCommand, TheSeedIsThatOfTheNoise) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model");
  write_byte_model(model, byte_config(), 5);
  const std::string data = directory.write("text.txt", "some text of which a part is masked");
  const auto loss = [&](const std::string& seed) {
    return json_of("evaluate " + model + " --length 32 --data " + data + " --seed " + seed)["loss"];
  };
  EXPECT_EQ(loss("1"), loss("1"));
  EXPECT_NE(loss("1"), loss("2"));
}

// How far a packed model is from the checkpoint it was made from.
TEST(EvaluateCommand, ComparesLogitsWithThoseOfAnotherForm) {
  const TemporaryDirectory directory;
  const std::string checkpoint = directory.path("checkpoint"), packed = directory.path("packed");
  ModelConfig config = byte_config();
  config.expert_ffn = 32;
  write_byte_model(checkpoint, config, 5);
  ASSERT_EQ(run_unmask("convert " + checkpoint + " " + packed + " --format int8").exit_code, 0);

  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>('a' + i * i % 23);
  const std::string data =
      " --data " + directory.write("text.txt", text) + " --length 64 --json --against ";
  const auto of = [&](const std::string& arguments) {
    const Outcome outcome = run_unmask("evaluate " + arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return json_in(outcome.output)["logits"];
  };
  const auto same = of(checkpoint + data + checkpoint);
  EXPECT_EQ(same["rms"], 0);
  EXPECT_EQ(same["same_argmax"], 1);
  config.max_positions = 32;
  const std::string shorter = directory.path("shorter");
  write_byte_model(shorter, config, 5);
  expect_error("evaluate " + checkpoint + data + shorter, 2, "the models have 32 positions");
  EXPECT_EQ(run_unmask("evaluate " + shorter + " --data " + directory.path("text.txt")).exit_code,
            0)
      << "without --length as many as it has";
  // The limit is of the packed model; the checkpoint has its experts in memory.
  for (const std::string limit : {"", " --expert-memory 1MiB"}) {
    const auto rounded = of(packed + data + checkpoint + limit);
    EXPECT_GT(rounded["rms"], 0) << limit;
    EXPECT_LT(rounded["rms"], 0.05 * rounded["reference_rms"].get<double>()) << limit;
  }
}

}  // namespace
}  // namespace unmask::test
