// unmask convert, unmask init and unmask inspect.
#include "tests/cli/byte_model.h"
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void expect_success(const std::string& arguments) {
  const Outcome outcome = run_unmask(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << arguments << "\n" << outcome.output;
}

TEST(ModelCommands, ConvertAndInspectEveryFormat) {
  const TemporaryDirectory directory;
  const json checkpoint = json_of("inspect " + kModel);
  EXPECT_EQ(checkpoint["form"], "checkpoint");
  EXPECT_TRUE(checkpoint["tokenizer"].is_null());
  for (const std::string format : {"bf16", "int8", "int4"}) {
    const std::string out = directory.path(format);
    expect_success("convert " + kModel + " " + out + " --format " + format);
    const json packed = json_of("inspect " + out + " --verify --tensors");
    EXPECT_EQ(packed["form"], "packed");
    EXPECT_EQ(packed["checksums"], "as stored");
    EXPECT_NE(packed["format"].get<std::string>().find(format), std::string::npos);
    EXPECT_EQ(packed["parameters"], checkpoint["parameters"]);
    EXPECT_EQ(packed["config"]["num_experts"], checkpoint["config"]["num_experts"]);
    int64_t of_tensors = 0, of_kinds = 0;
    for (const json& tensor : packed["tensors"]) of_tensors += tensor["bytes"].get<int64_t>();
    for (const auto& [kind, bytes] : packed["bytes"].items()) {
      if (kind != "total") of_kinds += bytes.get<int64_t>();
    }
    EXPECT_EQ(packed["bytes"]["total"], of_tensors);
    EXPECT_EQ(packed["bytes"]["total"], of_kinds);
    expect_success("inspect " + out + " --verify");
    // A packed model may be replaced, and is not a checkpoint.
    expect_success("convert " + kModel + " " + out + " --format " + format);
    expect_error("convert " + out + " " + directory.path("again"), 2, "is a packed model");
    EXPECT_FALSE(fs::exists(directory.path("again")));
  }
}

TEST(ModelCommands, WriteNoTextIntoTheModelWhereTheTerminalIsClosed) {
  const TemporaryDirectory directory;
  const std::string out = directory.path("packed");
  run_shell("(" + std::string(UNMASK_BINARY) + " convert " + kModel + " " + out + " <&- >&- 2>&-)");
  expect_success("inspect --verify " + out);
}

TEST(ModelCommands, ReplaceNothingThatCannotBeMadeAgain) {
  const TemporaryDirectory directory;
  directory.write("notes.txt", "mine");
  expect_error("convert " + kModel + " " + directory.path(), 1, "choose another name");
  expect_error("convert " + kModel + " " + directory.path("notes.txt"), 1, "no directory");
  EXPECT_TRUE(fs::exists(directory.path("notes.txt")));

  const std::string out = directory.path("packed");
  fs::create_directory(out);
  expect_success("convert " + kModel + " " + out);
  directory.write("packed/notes.txt", "mine");
  expect_error("convert " + kModel + " " + out, 1, "holds notes.txt");
  expect_error("init --shape " + kModel + "/config.json " + out, 1, "holds notes.txt");
  EXPECT_TRUE(fs::exists(directory.path("packed/notes.txt")));
}

TEST(ModelCommands, LeaveNothingBehindWhenTheyFail) {
  const TemporaryDirectory directory;
  const std::string out = directory.path("out");
  expect_error("convert " + directory.path("nowhere") + " " + out, 1, "expected a checkpoint");
  expect_error("convert " + kModel + " " + out + " --format int4 --group 48", 2, "multiple of 32");
  expect_error("convert " + kModel + " " + out + " --format bf16 --group 64", 2,
               "bf16 has no scales");
  expect_error("init --shape " + kModel + "/config.json " + out + " --group 64", 2, "no scales");
  EXPECT_TRUE(fs::is_empty(directory.path()));
}

TEST(ModelCommands, InspectNamesADamagedTensor) {
  const TemporaryDirectory directory;
  const std::string out = directory.path("packed");
  expect_success("convert " + kModel + " " + out);
  std::fstream file(out + "/packed.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 + 100);
  const char old = static_cast<char>(file.peek());
  file.put(static_cast<char>(old ^ 1));
  file.close();
  EXPECT_FALSE(json_of("inspect " + out).contains("checksums"));
  expect_error("inspect " + out + " --verify", 1, "\"layers.0.attention.qkv\"");
  expect_error("inspect " + out + " --verify --json", 1, "\"checksums\": \"differ\"");
  expect_error("inspect " + kModel + " --verify", 2, "no checksums");
  expect_error("inspect " + kModel + "/model.safetensors --verify", 2, "found the file");
}

TEST(ModelCommands, InspectASingleFile) {
  const json file = json_of("inspect " + kModel + "/model.safetensors");
  EXPECT_EQ(file["tensors"].size(), json_of("inspect " + kModel + " --tensors")["tensors"].size());
  expect_error("inspect " + kModel + "/config.json", 1, "safetensors");
}

// Of 10 positions each of 8 experts takes two, not two and a half.
TEST(ModelCommands, InspectCountsWhatTheModelsLengthLeavesOfCapacities) {
  const TemporaryDirectory directory;
  const auto active = [&](const std::string& name, RoutingPolicy::Selection policy) {
    ModelConfig config = byte_config();
    config.max_positions = 10;
    config.routing.policy = policy;
    write_byte_model(directory.path(name), config, 1);
    return json_of("inspect " + directory.path(name))["active_parameters"].get<double>();
  };
  // 0.4 experts of three matrices less, in each of two layers.
  EXPECT_NEAR(active("token-choice", RoutingPolicy::Selection::token_choice) -
                  active("expert-choice", RoutingPolicy::Selection::expert_choice),
              0.4 * 3 * 32 * 16 * 2, 1e-6);
}

TEST(ModelCommands, InspectSaysWhyATokenizerCannotBeUsed) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model");
  fs::copy(kModel, model);
  std::ofstream(model + "/tokenizer_config.json") << "{}";
  expect_error("inspect " + model, 0, "cannot be used: " + model + ": expected a directory with");
  std::ofstream(model + "/tokenizer.json")
      << json{{"model", {{"type", "Unigram"}, {"vocab", json::array()}}}};
  expect_error("inspect " + model, 0, "model Unigram is not supported, only BPE");
  expect_error("inspect " + model, 0, "parameters");
  const json found = json_of("inspect " + model);
  EXPECT_EQ(found["config"]["num_experts"], 16);
  EXPECT_NE(found["tokenizer"]["error"].get<std::string>().find("Unigram"), std::string::npos);
}

TEST(ModelCommands, ConvertLosesNoTokenizer) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model"), out = directory.path("out");
  fs::copy(kModel, model);
  expect_error("convert " + model + " " + out, 0, "will know no text");
  std::ofstream(out + "/tokenizer.json") << "{}";
  expect_error("convert " + model + " " + out, 2, "its tokenizer would be lost");
  expect_error("init --shape " + model + "/config.json --format int8 " + out, 2,
               "its tokenizer would be lost");
  EXPECT_TRUE(fs::exists(out + "/tokenizer.json"));
  fs::create_symlink("nowhere", model + "/tokenizer.json");
  expect_error("convert " + model + " " + directory.path("other"), 1, "cannot copy");
}

TEST(ModelCommands, InitWritesWhatConvertWould) {
  const TemporaryDirectory directory;
  const std::string shape = "init --shape " + kModel + "/config.json --seed 5 --router-skew 0.1 ";
  expect_success(shape + directory.path("f32"));
  expect_success(shape + "--format int4 --group 32 " + directory.path("int4"));
  expect_success("convert " + directory.path("f32") + " " + directory.path("converted") +
                 " --format int4 --group 32");
  const auto read = [&](const std::string& name) {
    std::ifstream file(directory.path(name + "/packed.safetensors"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_FALSE(read("int4").empty());
  EXPECT_EQ(read("int4"), read("converted"));
  expect_success("init --shape " + kModel + "/config.json --seed 6 --router-skew 0.1 --format " +
                 "int4 --group 32 " + directory.path("other"));
  EXPECT_NE(read("int4"), read("other"));
}

TEST(ModelCommands, InitTakesOverrides) {
  const TemporaryDirectory directory;
  const std::string small =
      "init --shape llada2-mini --layers 2 --set hidden_size=32 --set num_attention_heads=4 "
      "--set head_dim=8 --set num_experts=16 --set intermediate_size=32 "
      "--set moe_intermediate_size=32 --set unmask.shared_ffn=32 --set vocab_size=258 "
      "--set mask_token_id=256 --set eos_token_id=257 --set pad_token_id=257 ";
  expect_success(small + "--format int8 " + directory.path("bytes"));
  const json found = json_of("inspect " + directory.path("bytes"));
  EXPECT_EQ(found["config"]["num_hidden_layers"], 2);
  EXPECT_EQ(found["config"]["num_experts"], 16);
  EXPECT_EQ(found["config"]["unmask"]["family"], "llada2");
  // Special tokens where the byte tokenizer has them: it comes along.
  EXPECT_EQ(found["tokenizer"]["mask"]["id"], 256);
  expect_error(small + "--set num_expert=8 " + directory.path("x"), 2, "\"num_experts\"");
  expect_error(small + "--set num_experts=12 " + directory.path("x"), 2, "groups");
  expect_error("init --shape llada3 " + directory.path("x"), 2, "llada2-mini, llada2-flash");
  EXPECT_FALSE(fs::exists(directory.path("x")));
}

TEST(ModelCommands, InitRefusesWhatGivesNoFiniteWeights) {
  const TemporaryDirectory directory;
  const std::string init =
      "init --shape " + kModel + "/config.json " + directory.path("model") + " ";
  for (const char* skew : {"-1", "11"}) {
    expect_error(init + "--router-skew=" + skew, 2, "from 0 to 10");
  }
  expect_error(init + "--set initializer_range=1e38", 2, "at most 1e6");
  EXPECT_FALSE(fs::exists(directory.path("model")));
}

TEST(ModelCommands, InitSetsWhatTheKeySaysOrRefusesIt) {
  const TemporaryDirectory directory;
  const std::string out = directory.path("out");
  expect_success("init --shape " + kModel + "/config.json " + out +
                 " --set num_experts_per_tok=2 --set n_group=1 --set topk_group=1 "
                 "--set routed_scaling_factor=1.0 --set norm_topk_prob=false "
                 "--set num_shared_experts=2 --set moe_intermediate_size=48");
  const json written = json_of("inspect " + out)["config"]["unmask"];
  EXPECT_EQ(written["routing"]["experts_per_token"], 2);
  EXPECT_EQ(written["routing"]["renormalize"], false);
  EXPECT_EQ(written["routing"]["scale"], 1.0);
  EXPECT_FALSE(written["routing"].contains("groups"));
  EXPECT_EQ(written["shared_ffn"], 96);
  EXPECT_EQ(written["shared_experts"], 2);

  // The same from a shape with a section of its own.
  const std::string again = directory.path("again");
  const std::string own = "init --shape " + out + "/config.json " + again + " ";
  expect_success(own + "--set num_experts_per_tok=3");
  EXPECT_EQ(json_of("inspect " + again)["config"]["unmask"]["routing"]["experts_per_token"], 3);

  const std::string refused =
      "init --shape " + kModel + "/config.json " + directory.path("x") + " ";
  expect_error(refused + "--set unmask.routing.scale=2.0 --set num_experts_per_tok=3", 2,
               "unmask.routing.experts_per_token does instead of num_experts_per_tok");
  expect_error(refused + "--set router_dtype=bf16", 2, "does not depend on router_dtype");
  EXPECT_FALSE(fs::exists(directory.path("x")));
}

}  // namespace
}  // namespace unmask::test
