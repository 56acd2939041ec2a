#include "tests/cli/byte_model.h"
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/text/byte_tokenizer.h"

namespace unmask::test {
namespace {

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

// A copy of the tiny model, with other values in its config.json.
void copy_model(const std::string& to, const nlohmann::json& changes) {
  std::filesystem::copy(kModel, to);
  auto config = json_in(slurp(to + "/config.json"));
  config.update(changes);
  std::ofstream(to + "/config.json") << config;
}

// Words of this tokenizer hold the space in front of them, the first one too.
TEST(GenerateCommand, TextIsThePromptAndTheCompletion) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model");
  copy_model(model, {{"mask_token_id", 2}, {"eos_token_id", 1}});
  std::string corpus;
  for (int i = 0; i < 300; ++i) corpus += "the whale number " + std::to_string(i) + " swam\n";
  const std::string words = directory.path("words.model");
  ASSERT_EQ(run_unmask("tokenize --train-sentencepiece --vocab-size 400 --out " + words + " " +
                       directory.write("text.txt", corpus))
                .exit_code,
            0);
  std::string bytes = slurp(words);
  const size_t spec = bytes.rfind(std::string("\x18\0\x20\0", 4));  // no prefix, spaces kept
  ASSERT_NE(spec, std::string::npos);
  bytes[spec + 1] = 1;
  std::ofstream(model + "/tokenizer.model", std::ios::binary) << bytes;

  const std::string arguments = "generate " + model +
                                " --prompt 'the whale' --length 12 --temperature 1 --samples 16 "
                                "--json --quiet";
  const auto whole = json_in(run_unmask(arguments).output)["generations"];
  const auto stopped = json_in(run_unmask(arguments + " --stop 3").output)["generations"];
  ASSERT_EQ(whole.size(), 16u);
  ASSERT_EQ(stopped.size(), 16u);
  int spaces = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const auto& g : {whole[i], stopped[i]}) {
      EXPECT_EQ(g["text"], "the whale" + g["completion"].get<std::string>());
    }
    const auto cut = stopped[i]["completion"].get<std::string>();
    spaces += cut.starts_with(' ') && cut != whole[i]["completion"];
    EXPECT_TRUE(
        whole[i]["text"].get<std::string>().starts_with(stopped[i]["text"].get<std::string>()))
        << whole[i]["text"] << stopped[i]["text"];
  }
  EXPECT_GT(spaces, 0) << "one was to be cut at the stop text behind a space";
}

TEST(GenerateCommand, TextBehindAGapBeginsWithNoSpaceOfItsOwn) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model");
  copy_model(model, {{"mask_token_id", 256}, {"eos_token_id", 257}});
  ASSERT_TRUE(ByteTokenizer().save(model).ok());
  const std::string path = model + "/tokenizer.json";
  auto tokenizer = json_in(slurp(path));
  tokenizer["pre_tokenizer"]["add_prefix_space"] = true;
  tokenizer["added_tokens"][0]["id"] = 257;  // no byte tokenizer, which adds nothing
  tokenizer["added_tokens"][1]["id"] = 256;
  std::swap(tokenizer["added_tokens"][0]["content"], tokenizer["added_tokens"][1]["content"]);
  std::ofstream(path) << tokenizer;
  const auto out = json_of("generate " + model + " --infill 'a[MASK:2]b[MASK:1] c' --quiet");
  expect_error("generate " + model + " --infill 'a[MASK:2] c' --stop b", 2, "filled in whole");
  const auto tokens = out["generations"][0]["tokens"].get<std::vector<int>>();
  ASSERT_EQ(tokens.size(), 8u);
  EXPECT_EQ(tokens[0], ' ');
  EXPECT_EQ(tokens[1], 'a');
  EXPECT_EQ(tokens[4], 'b');
  EXPECT_EQ(tokens[6], ' ');
  EXPECT_EQ(tokens[7], 'c');
}

TEST(GenerateCommand, SaysThatThereAreNoWeightsBeforeItNeedsMemory) {
  const TemporaryDirectory directory;
  auto config = json_in(slurp(kModel + "/config.json"));
  config.update({{"hidden_size", 1 << 16}, {"num_experts", 1 << 14}});
  directory.write("config.json", to_text(config));
  expect_error("generate " + directory.path() + " --tokens 1", 1,
               "expected model.safetensors or model.safetensors.index.json, found neither");
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
  const auto cache = json_in(report.output)["report"]["expert_cache"];
  EXPECT_GT(cache["read"].get<int64_t>(), 0);
  EXPECT_GT(cache["hit_rate"].get<double>(), 0);
  expect_error(arguments + " --expert-memory 1KiB", 2, "of one layer");
  expect_error("generate " + kModel + " --tokens 1 --expert-memory 1GiB", 2, "unmask convert");
}

TEST(GenerateCommand, SizesHaveUnits) {
  const std::string arguments = "generate " + kModel + " --tokens 1 --expert-memory ";
  for (const char* size : {"1000", "0", "500MB", "1.5GiB", "2g", "1e3k"}) {
    expect_error(arguments + size, 2, "unmask convert");  // for packed models only
  }
  for (const char* size : {"''", "-5KB", "GiB", "1XB", "1GiBs", "inf", "1e30G"}) {
    expect_error(arguments + size, 2, "expected a size like 2GiB or 500MB, found");
  }
}

TEST(GenerateCommand, ManySamplesAreThoseOfTheirSeeds) {
  const std::string arguments =
      "generate " + kModel + " --tokens 1,2,3 --length 6 --temperature 1 --ignore-end";
  const auto all = json_of(arguments + " --samples 40 --seed 5");
  ASSERT_EQ(all["generations"].size(), 40u);
  EXPECT_EQ(all["report"]["forwards"]["denoise"], 40 * 6);
  const auto one = json_of(arguments + " --seed 43");
  EXPECT_EQ(all["generations"][38]["tokens"], one["generations"][0]["tokens"]);
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
  expect_error("generate " + kModel + " --tokens 1 --block-length -1", 2, "block length");
  expect_error("generate " + kModel + " --tokens 1 --sampler best", 2, "quota, threshold");
  expect_error("generate " + kModel + " --tokens 1 --steps 0", 2, "steps");
  expect_error("generate " + kModel + " --tokens 1 --prompt x", 2, "at most 1");
  expect_error("generate", 2, "CHECKPOINT");
}

const std::string kModel32 = std::string(UNMASK_SOURCE_DIR) + "/tests/data/golden/D_model_tiny32";

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
  EXPECT_LT(unique("--routing block-routing --pool 9"), 9.001);
  EXPECT_GT(unique("--routing block-routing --pool 9"), 8);

  const TemporaryDirectory directory;
  const std::string file = directory.write("policy.toml",
                                           "policy = \"block-experts\"\nexperts_per_token = 6\n"
                                           "weights = \"sigmoid\"\nscale = 2.5\n"
                                           "groups = {count = 4, keep = 3}\n"
                                           "block = {p = 0.9, coreset_min = 1}\n");
  EXPECT_EQ(unique("--routing " + file), more) << "the file says what the flags said";
  EXPECT_EQ(unique("--routing " + file + " --p 0.3"), few);

  const std::string scheduled = directory.write(
      "scheduled.toml",
      "policy = \"coreset-expert-choice\"\nexperts_per_token = 6\nweights = \"sigmoid\"\n"
      "capacity = {schedule = \"linear\", min = 2, max = 6}\n"
      "block = {p_min = 0.5, p_max = 0.9, coreset_min = 1}\n");
  EXPECT_LT(unique("--routing " + scheduled + " --p 0.1"),
            unique("--routing " + scheduled + " --p 0.95"))
      << "one p in place of the schedule's";
  const std::string expert_choice =
      directory.write("expert-choice.toml",
                      "policy = \"expert-choice\"\nexperts_per_token = 6\nweights = \"sigmoid\"\n"
                      "capacity = {schedule = \"linear\", min = 2, max = 6}\n");
  const auto tokens = [&](const std::string& flags) {
    return json_of(base + "--routing " + expert_choice + flags).at("generations")[0].at("tokens");
  };
  EXPECT_NE(tokens(" --experts-per-token 1"), tokens("")) << "one k in place of the schedule's";
  expect_error(base + "--routing " + scheduled + " --experts-per-token 3", 2, "give --p too");

  expect_error(base + "--routing block-expert", 2, "nearest: block-experts");
  expect_error(base + "--p 0.5", 2, "the policy token-choice has no such key");
  expect_error(base + "--routing block-experts --p 1.5", 2, "between 0 and 1");
  expect_error(base + "--routing block-experts --pool 9", 2, "expected --routing block-routing");
  expect_error(base + "--routing block-routing --pool 5", 2, "at least 6");
  expect_error(base + "--routing top-k --experts-per-token 99", 2, "1 to 32");
  expect_error(base + "--routing " + directory.path("none.toml"), 1, "cannot open");
}

TEST(GenerateCommand, EverySamplerByNameWithItsParameters) {
  const std::string base = "generate " + kModel + " --tokens 1,2,3 --length 40 --quiet ";
  for (const std::string flags :
       {"quota", "threshold --threshold 0.5", "threshold-max --threshold 0.8", "factor --factor 2",
        "hierarchical --threshold 0.8 --low-threshold 0.3",
        "credit --credit-weight 1 --credit-decay 0.5 --credit-power 0.3",
        "entropy-bounded --entropy-bound 1", "random", "sequential", "low-entropy", "margin",
        "editing --edit-threshold 0"}) {
    const Outcome outcome = run_unmask(base + "--sampler " + flags);
    EXPECT_EQ(outcome.exit_code, 0) << flags << ": " << outcome.output;
  }
  expect_error(base + "--sampler levenshtein", 2, "delete_token_id");
  expect_error(base + "--sampler credit --factor 2", 2, "no such parameter");
  expect_error(base + "--sampler credit --credit-decay 2", 2, "at most 1");
  expect_error(base + "--top-p 0", 2, "top-p");
  expect_error(base + "--temperature 3e38", 2, "temperature");
  expect_error(base + "--guidance 3e38", 2, "guidance");
  expect_error(base + "--top-k -1", 2, "top-k");
  expect_error(base + "--cache maybe", 2, "auto, dual, off, on, prefix, vicinity");
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

TEST(GenerateCommand, GapsHoldAtLeastOneToken) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model");
  write_byte_model(model, byte_config(), 5);
  for (const char* const gap :
       {"[MASK:0]", "[MASK:-1]", "[MASK:]", "[MASK:2", "[MASK:99999999999]"}) {
    expect_error("generate " + model + " --infill 'a" + gap + "b'", 2, "gaps like [MASK:8]");
  }
  expect_error("generate " + model + " --infill ab", 2, "at least one gap");
  expect_error("generate " + model + " --infill 'a[MASK:2]' --length 3", 2, "--infill says");
}

TEST(GenerateCommand, WarnsOfATokenizerWithAnotherEnd) {
  const TemporaryDirectory directory;
  const std::string model = directory.path("model");
  ModelConfig config = byte_config();
  config.end_token = 5;
  write_byte_model(model, config, 5);
  const std::string arguments = "generate " + model + " --prompt a --length 4 --quiet",
                    words = "the tokenizer's end token is 257, the model's 5";
  EXPECT_NE(run_unmask(arguments).output.find(words), std::string::npos);
  EXPECT_EQ(run_unmask(arguments + " --ignore-end").output.find(words), std::string::npos);
}

// `timeout` sends what Ctrl-C sends, in the foreground only once (a second one ends the program at
// once); the generation would take far longer.
TEST(GenerateCommand, InterruptionLeavesWhatWasCommitted) {
  const auto interrupted = [](const std::string& flags) {
    return run_shell("(timeout --foreground --preserve-status -s INT 2 " +
                     std::string(UNMASK_BINARY) + " generate " + kModel +
                     " --tokens 1,2,3 --length 500 --ignore-end --cache off --samples 100 " +
                     flags + ")");
  };
  const auto [exit_code, output] = interrupted("");
  EXPECT_EQ(exit_code, 130) << output;
  EXPECT_EQ(output.rfind("1,2,3", 0), 0u) << output.substr(0, 200);
  // The whole canvas, with the mask token where nothing was committed.
  const std::string line = output.substr(0, output.find('\n'));
  EXPECT_EQ(std::ranges::count(line, ','), 502) << line;
  EXPECT_NE(output.find("interrupted"), std::string::npos);

  const json document = json_in(interrupted("--json --quiet 2>/dev/null").output);
  EXPECT_EQ(document["generations"].back()["tokens"].size(), 503u);
}

}  // namespace
}  // namespace unmask::test
