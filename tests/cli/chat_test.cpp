#include "tests/cli/byte_model.h"
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <cctype>
#include <sstream>
#include <string>
#include <sys/stat.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/text/byte_level.h"
#include "unmask/text/byte_tokenizer.h"

namespace unmask::test {
namespace {

// A checkpoint of random weights with the byte tokenizer, for its plumbing.
class ChatCommand : public testing::Test {
 protected:
  static constexpr int32_t kPositions = 256;

  void SetUp() override {
    ModelConfig config = byte_config();
    config.heads = 2;
    config.kv_heads = 1;
    config.head_dim = 16;
    config.max_positions = kPositions;
    config.shared_ffn = 16;
    config.attention_block = 32;
    write_byte_model(directory_.path(), config, 7);
  }

  Outcome run(const std::string& command, const std::string& flags) const {
    return run_unmask(command + " " + directory_.path() + " " + flags);
  }
  nlohmann::json json_of(const std::string& flags) const {
    const Outcome outcome = run("chat", flags + " --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return json_in(outcome.output);
  }

  TemporaryDirectory directory_;
};

TEST_F(ChatCommand, PutsTheMessageIntoTheTemplate) {
  const std::string one = "<role>HUMAN</role>hi<|role_end|><role>ASSISTANT</role>";
  const auto plain = json_of("--message hi --length 20");
  EXPECT_EQ(plain.at("prompt_tokens"), one.size());
  const auto told = json_of("--message hi --system 'be brief' --length 20");
  EXPECT_EQ(told.at("prompt_tokens"),
            one.size() + std::string("<role>SYSTEM</role>be brief<|role_end|>").size());
  EXPECT_EQ(plain.at("report").at("forwards").at("prefill"), 1);

  // The same tokens as `generate` gives behind that text.
  const Outcome chat = run("chat", "--message hi --length 20");
  const Outcome generated = run("generate", "--prompt '" + one +
                                                "' --length 20 --sampler threshold --quiet --stop "
                                                "'<|role_end|>'");
  EXPECT_EQ(generated.output, one + chat.output);
}

TEST_F(ChatCommand, FollowsTheTemplateOfTheCheckpoint) {
  const auto plain = json_of("--message hi --length 4").at("prompt_tokens").get<size_t>();
  directory_.write("chat_template.jinja", "{{ 'detailed thinking ' + option + '<|role_end|>' }}");
  EXPECT_EQ(json_of("--message hi --length 4").at("prompt_tokens"),
            plain + std::string("<role>SYSTEM</role>detailed thinking off<|role_end|>").size());
  directory_.write("chat_template.jinja", "{{ '<|start_header_id|>' }}");
  const Outcome unknown = run("chat", "--message hi --length 4");
  EXPECT_EQ(unknown.exit_code, 0);
  EXPECT_NE(unknown.output.find("chat template that is not known"), std::string::npos)
      << unknown.output;
}

TEST_F(ChatCommand, RemembersTheConversationUntilReset) {
  const std::string command = "printf 'hi\\nmore\\n/reset\\nhi\\n' | " +
                              std::string(UNMASK_BINARY) + " chat " + directory_.path() +
                              " --length 8 --json";
  FILE* const pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char line[1 << 14];
  std::vector<nlohmann::json> answers;
  while (fgets(line, sizeof line, pipe)) {
    answers.push_back(json_in(line));
  }
  EXPECT_EQ(pclose(pipe), 0);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_GT(answers[1].at("prompt_tokens"), answers[0].at("prompt_tokens"));
  EXPECT_EQ(answers[2].at("prompt_tokens"), answers[0].at("prompt_tokens"));
}

// Each answer to what is typed, as JSON.
std::vector<nlohmann::json> answers(const std::string& typed, const std::string& arguments) {
  const Outcome outcome = run_shell("(printf '" + typed + "' | " + std::string(UNMASK_BINARY) +
                                    " chat " + arguments + " --json 2>/dev/null)");
  std::vector<nlohmann::json> found;
  std::istringstream lines(outcome.output);
  for (std::string line; std::getline(lines, line);) found.push_back(json_in(line));
  return found;
}

TEST_F(ChatCommand, TheSystemMessageIsThereAfterAReset) {
  const auto all = answers("hi\\n/reset\\nhi\\n", directory_.path() + " --length 4 --system short");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].at("prompt_tokens"), all[0].at("prompt_tokens"));
}

TEST_F(ChatCommand, AMessageWithoutAnAnswerIsForgotten) {
  const std::string arguments = directory_.path() + " --length 4";
  const auto plain = answers("hi\\nmore\\n", arguments);
  const auto failed = answers("hi\\n" + std::string(300, 'x') + "\\nmore\\n", arguments);
  ASSERT_EQ(plain.size(), 2u);
  ASSERT_EQ(failed.size(), 2u);
  EXPECT_EQ(failed[1].at("prompt_tokens"), plain[1].at("prompt_tokens"));
}

TEST_F(ChatCommand, LinesMayEndAsInWindows) {
  const std::string arguments = directory_.path() + " --length 4";
  const auto unix_line = answers("hi\\n", arguments), windows = answers("hi\\r\\n", arguments);
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].at("prompt_tokens"), unix_line.at(0).at("prompt_tokens"));
}

TEST_F(ChatCommand, AnswersAreNoLongerThanTheContextLeaves) {
  const auto all = answers("hi\\n", directory_.path() + " --length 5000");
  EXPECT_EQ(all.size(), 1u);
}

TEST_F(ChatCommand, EachAnswerHasASeedOfItsOwn) {
  const auto all =
      answers("hi\\n/reset\\nhi\\n", directory_.path() + " --length 20 --temperature 1");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_NE(all[1].at("message"), all[0].at("message"));
}

std::string ascii_of(std::string text) {
  std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  return text;
}

TEST_F(ChatCommand, ShowsOnlyWhatIsEditedNoMore) {
  for (int seed = 0; seed < 8; ++seed) {
    const std::string flags =
        "--message hi --length 60 --sampler editing --edit-threshold 0.01 --temperature 1 --seed " +
        std::to_string(seed);
    const Outcome shown = run("chat", flags);
    EXPECT_EQ(ascii_of(shown.output),
              ascii_of(json_of(flags).at("message").get<std::string>() + "\n"));
  }
}

TEST_F(ChatCommand, ModelsThatInsertAndDeleteDoSoUnlessAnotherSamplerIsNamed) {
  ModelConfig config = byte_config();
  config.max_positions = kPositions;
  config.attention_block = 32;
  config.delete_token = 'x';
  config.insert_token = 'y';
  const TemporaryDirectory directory;
  write_byte_model(directory.path(), config, 7);
  const auto answer = [&](const std::string& flags) {
    const Outcome outcome =
        run_unmask("chat " + directory.path() + " --message hi --length 60 --json " + flags);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return json_in(outcome.output).at("message").get<std::string>();
  };
  EXPECT_EQ(answer(""), answer("--sampler levenshtein"));
  EXPECT_NE(answer(""), answer("--sampler threshold"));
  EXPECT_EQ(answer("").find_first_of("xy"), std::string::npos);
}

TEST_F(ChatCommand, WatchingShowsNoControlCharacters) {
  const std::string prompt = directory_.write("prompt.txt",
                                              "a\x1b[2Jb\x07"
                                              "c\x7f"
                                              "d\xc2\x9b"
                                              "e");
  const Outcome outcome =
      run_shell("(" + std::string(UNMASK_BINARY) + " generate " + directory_.path() +
                " --prompt-file " + prompt + " --length 8 --watch --quiet 2>&1 >/dev/null)");
  EXPECT_NE(outcome.output.find("a.[2Jb.c.d.e"), std::string::npos) << outcome.output;
}

TEST_F(ChatCommand, StopTextsEndTheAnswerBeforeThem) {
  // Any byte that the answer holds and a shell leaves alone.
  std::string whole, stop;
  for (int seed = 0; seed < 20 && stop.empty(); ++seed) {
    const std::string flags =
        "--prompt a --length 60 --temperature 1 --ignore-end --quiet --seed " +
        std::to_string(seed);
    whole = run("generate", flags).output;
    for (size_t i = 1; i < whole.size() && stop.empty(); ++i) {
      if (std::isalnum(static_cast<unsigned char>(whole[i]))) stop = whole.substr(i, 1);
    }
    if (stop.empty()) continue;
    const Outcome stopped = run("generate", flags + " --stop never --stop " + stop);
    EXPECT_EQ(stopped.exit_code, 0);
    EXPECT_EQ(stopped.output, whole.substr(0, whole.find(stop, 1)) + "\n");
  }
  EXPECT_FALSE(stop.empty());
  EXPECT_EQ(run("generate", "--prompt a --stop ''").exit_code, 2);
}

TEST_F(ChatCommand, GoesOnAfterAnAnswerThatCutsACharacter) {
  // Bytes as tokens, but for "zz", which makes it a tokenizer that takes UTF-8 alone.
  nlohmann::json vocabulary = {{"zz", 258}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[to_byte_level(static_cast<uint8_t>(byte))] = byte;
  }
  const nlohmann::json tokenizer = {
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"z z"}}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"added_tokens",
       {{{"id", 256}, {"content", "<|mask|>"}, {"special", true}},
        {{"id", 257}, {"content", "<|endoftext|>"}, {"special", true}}}}};
  directory_.write("tokenizer.json", to_text(tokenizer));
  directory_.write("tokenizer_config.json",
                   R"({"mask_token": "<|mask|>", "eos_token": "<|endoftext|>"})");
  const std::string command = std::string(UNMASK_BINARY) + " chat " + directory_.path() +
                              " --length 12 --temperature 1 --json";
  const Outcome outcome = run_shell("printf 'hi\\r\\nmore\\nand more\\n' | " + command);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(std::ranges::count(outcome.output, '\n'), 3) << outcome.output;
  EXPECT_NE(outcome.output.find("\uFFFD"), std::string::npos) << outcome.output;

  const Outcome broken = run_shell("printf 'hi\\n\\377\\n' | " + command);
  EXPECT_EQ(broken.exit_code, 1) << broken.output;
  EXPECT_NE(broken.output.find("the message: expected UTF-8"), std::string::npos) << broken.output;
}

TEST_F(ChatCommand, RefusesWhatCannotBeAnswered) {
  const Outcome tall = run("chat", "--message " + std::string(300, 'x'));
  EXPECT_EQ(tall.exit_code, 2);
  EXPECT_NE(tall.output.find("the model's context 256"), std::string::npos) << tall.output;

  const std::string tokenizer =
      std::string(UNMASK_SOURCE_DIR) + "/tests/data/tokenizers/whole-lines.tokenizer.json";
  std::filesystem::copy_file(tokenizer, directory_.path("tokenizer.json"),
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(directory_.path("tokenizer_config.json"));
  const Outcome maskless = run("chat", "--message hi");
  EXPECT_EQ(maskless.exit_code, 1);
  EXPECT_NE(maskless.output.find("mask token"), std::string::npos) << maskless.output;

  std::filesystem::resize_file(directory_.path("model.safetensors"), 5000);
  const Outcome torn = run("chat", "--message hi");
  EXPECT_EQ(torn.exit_code, 1);
  EXPECT_NE(torn.output.find("model.safetensors"), std::string::npos) << torn.output;

  directory_.write("config.json", R"({"architectures": ["GPT2LMHeadModel"]})");
  const Outcome other = run("chat", "--message hi");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.output.find("SDARMoeForCausalLM, found [\"GPT2LMHeadModel\"]"), std::string::npos)
      << other.output;
}

TEST_F(ChatCommand, AnInterruptEndsTheWaitForALine) {
  const std::string waits = directory_.path("waits");
  ASSERT_EQ(mkfifo(waits.c_str(), 0600), 0);
  const Outcome outcome =
      run_shell("(sleep 20 > " + waits +
                " 2>/dev/null & feeder=$!; timeout --foreground --preserve-status -k 5 -s INT 1 " +
                std::string(UNMASK_BINARY) + " chat " + directory_.path() + " < " + waits +
                " > /dev/null; echo ended with $?; kill $feeder)");
  EXPECT_NE(outcome.output.find("ended with 130"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace unmask::test
