#include "unmask/train/targets.h"

#include "tests/diffusion/tiny_model.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/text/documents.h"

namespace unmask {
namespace {

// Draws w, x, y, z or the end token, each as likely, at every position: some answers of 6 tokens
// end.
Model sometimes_ends() {
  ModelConfig config = tiny_config();
  config.vocab_size = 258;
  config.mask_token = 256;
  config.end_token = config.pad_token = 257;
  config.max_positions = 128;
  std::vector<float> logits(258, 0.0f);
  for (const int token : {int{'w'}, int{'x'}, int{'y'}, int{'z'}, 257}) logits[token] = 12;
  return constant_model(logits, config);
}

class WriteTargets : public testing::Test {
 protected:
  WriteTargets() {
    for (int i = 0; i < 11; ++i) {
      prompts_.push_back({{"user", std::string(static_cast<size_t>(i), 'q')}});
    }
    options_.generate.temperature = 1;
    options_.length = 6;
    options_.batch = 3;
    options_.seed = 5;
  }
  Result<TargetCounts> write(const std::string& name) {
    return write_targets(model_, *tokenizer_, prompts_, options_, directory_.path(name + ".jsonl"),
                         stop_);
  }
  std::string content(const std::string& name) const { return *read_file(directory_.path(name)); }
  std::string error_of(const std::string& name) {
    const auto counts = write(name);
    return counts ? "" : counts.error().message;
  }

  test::TemporaryDirectory directory_;
  Model model_ = sometimes_ends();
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load("byte").value();
  std::vector<Conversation> prompts_;
  TargetOptions options_;
  std::atomic<bool> stop_ = false;
};

// Each answer alone, by hand.
TEST_F(WriteTargets, KeepsTheAnswersThatEnd) {
  const auto counts = write("targets");
  ASSERT_TRUE(counts) << counts.error().message;

  GenerateOptions alone = options_.generate;
  alone.steps = 6;
  Tape tape;
  std::vector<std::pair<std::string, std::string>> expected;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const std::string text = *ChatTemplate::of(*tokenizer_).prompt(prompts_[i]);
    const GenerateRequest request = {Canvas::continuation(*tokenizer_->encode(text), 6, 256),
                                     options_.seed + i};
    const auto generations = generate(model_, std::span(&request, 1), alone, tape);
    const Generation& generation = (*generations)[0];
    if (!generation.ended) continue;
    expected.emplace_back(prompts_[i][0].content,
                          tokenizer_->decode(generation.tokens).substr(text.size()));
  }
  ASSERT_GT(expected.size(), 2u);
  ASSERT_LT(expected.size(), 10u);
  EXPECT_EQ(counts->prompts, 11);
  EXPECT_EQ(counts->kept, std::ssize(expected));
  EXPECT_EQ(counts->unfinished, 11 - std::ssize(expected));

  std::istringstream lines(content("targets.jsonl"));
  size_t i = 0;
  for (std::string line; std::getline(lines, line); ++i) {
    const auto conversation = parse_conversation(line);
    ASSERT_TRUE(conversation) << line;
    ASSERT_EQ(conversation->size(), 2u);
    EXPECT_EQ((*conversation)[0].content, expected.at(i).first);
    EXPECT_EQ((*conversation)[1].role, "assistant");
    EXPECT_EQ((*conversation)[1].content, expected.at(i).second);
    EXPECT_FALSE((*conversation)[1].given);
  }
  EXPECT_EQ(i, expected.size());
}

// Blocks that are longer than the answer share their steps out over all their positions.
TEST_F(WriteTargets, CommitsOneAtATimeWhereNothingIsSure) {
  options_.generate.block_length = 16;
  options_.generate.on_step = [](const DenoisingEvent& event) {
    EXPECT_EQ(event.commits.size(), 1u);
  };
  ASSERT_TRUE(write("targets"));

  size_t most = 0;
  options_.generate.steps = 8;
  options_.generate.on_step = [&](const DenoisingEvent& event) {
    most = std::max(most, event.commits.size());
  };
  ASSERT_TRUE(write("hasty"));
  EXPECT_EQ(most, 2u);
}

// Every token is one of five that are as likely.
TEST_F(WriteTargets, RemovesWhatTheModelIsUnsureOf) {
  const auto all = write("all");
  ASSERT_TRUE(all);
  options_.least_confidence = 0.19f;
  ASSERT_TRUE(write("sure"));
  EXPECT_EQ(content("sure.jsonl"), content("all.jsonl"));

  options_.least_confidence = 0.21f;
  const auto counts = write("unsure");
  ASSERT_TRUE(counts);
  EXPECT_GT(counts->unsure(), 0);
  EXPECT_EQ(counts->unsure() + counts->kept, all->kept);
  EXPECT_EQ(counts->unfinished, all->unfinished);
  const auto conversations = content("unsure.jsonl");
  size_t empty = 0;
  for (size_t at = 0; (at = conversations.find("\"content\":\"\"}]}", at)) != std::string::npos;
       ++at) {
    ++empty;
  }
  EXPECT_EQ(std::ssize(conversations) == 0, counts->kept == 0);
  EXPECT_EQ(static_cast<int64_t>(empty), counts->kept) << "only answers without a token are left";
}

TEST_F(WriteTargets, WhatIsAsSureAsAskedStays) {
  ModelConfig config = model_.config();
  std::vector<float> logits(258, 0.0f);
  logits[257] = 500;  // the end, with probability 1
  model_ = constant_model(logits, config);
  options_.generate.temperature = 0;
  options_.least_confidence = 1;
  const auto counts = write("certain");
  ASSERT_TRUE(counts) << counts.error().message;
  EXPECT_EQ(counts->kept, 11);
}

TEST_F(WriteTargets, RefusesCountsThatDoNotBelongTogether) {
  ASSERT_TRUE(write("targets"));
  auto counts = json_in(content("targets.json"));
  counts["kept"] = 12;
  directory_.write("targets.json", to_text(counts));
  EXPECT_NE(error_of("targets").find("damaged"), std::string::npos);
}

TEST(EncodePrompts, LeaveRoomForAToken) {
  const auto tokenizer = Tokenizer::load("byte").value();
  const std::vector<Conversation> prompts = {{{"user", "q"}}};
  const auto tokens = encode_prompts(prompts, *tokenizer, 1000);
  ASSERT_TRUE(tokens);
  const auto size = static_cast<int32_t>(tokens->front().size());
  EXPECT_FALSE(encode_prompts(prompts, *tokenizer, size));
  EXPECT_TRUE(encode_prompts(prompts, *tokenizer, size + 1));
}

TEST_F(WriteTargets, BatchesChangeNothing) {
  ASSERT_TRUE(write("threes"));
  options_.batch = 100;
  ASSERT_TRUE(write("whole"));
  EXPECT_EQ(content("whole.jsonl"), content("threes.jsonl"));
}

TEST_F(WriteTargets, GoesOnWhereItStopped) {
  ASSERT_TRUE(write("straight"));

  // Stopped in the third batch, whose answers are lost; then a kill tears what follows.
  std::vector<size_t> begun;
  options_.generate.on_step = [&](const DenoisingEvent& event) {
    if (event.step == 1 && event.request == 0) begun.push_back(event.request);
    if (begun.size() == 3) stop_ = true;
  };
  auto counts = write("stopped");
  ASSERT_TRUE(counts) << counts.error().message;
  EXPECT_EQ(counts->prompts, 6);
  EXPECT_FALSE(*finished_targets(directory_.path("stopped.jsonl"), prompts_));
  const std::string kept = content("stopped.jsonl");
  EXPECT_TRUE(content("straight.jsonl").starts_with(kept));
  std::ofstream(directory_.path("stopped.jsonl"), std::ios::app)
      << "{\"messages\": [{\"role\": \"user\", \"cont";

  stop_ = false;
  begun.clear();
  options_.generate.on_step = [&](const DenoisingEvent& event) {
    if (event.step == 1) begun.push_back(event.request);
  };
  counts = write("stopped");
  ASSERT_TRUE(counts) << counts.error().message;
  EXPECT_EQ(begun.size(), 5u) << "only what was missing is written";
  EXPECT_EQ(content("stopped.jsonl"), content("straight.jsonl"));
  EXPECT_EQ(content("stopped.json"), content("straight.json"));

  begun.clear();
  const auto again = write("stopped");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->kept, counts->kept);
  EXPECT_TRUE(begun.empty());
  const auto finished = finished_targets(directory_.path("stopped.jsonl"), prompts_);
  ASSERT_TRUE(finished && *finished);
  EXPECT_EQ((*finished)->unfinished, counts->unfinished);
}

TEST_F(WriteTargets, RefusesTargetsOfOtherPrompts) {
  ASSERT_TRUE(write("targets"));
  prompts_[3].front().content += "!";
  const auto edited = write("targets");
  ASSERT_FALSE(edited);
  EXPECT_NE(edited.error().message.find("found a file for others"), std::string::npos);
  prompts_.pop_back();
  const auto fewer = write("targets");
  ASSERT_FALSE(fewer);
  EXPECT_NE(fewer.error().message.find("expected answers to 10 prompts"), std::string::npos);
}

TEST_F(WriteTargets, EarlierAnswersAreGiven) {
  prompts_ = {{{"user", "q"}, {"assistant", "a"}, {"user", "r"}}};
  options_.length = 30;
  ASSERT_TRUE(write("targets"));
  const auto conversation = parse_conversation(content("targets.jsonl"));
  ASSERT_TRUE(conversation);
  ASSERT_EQ(conversation->size(), 4u);
  EXPECT_TRUE((*conversation)[1].given);
  EXPECT_FALSE((*conversation)[3].given);
}

TEST_F(WriteTargets, AnswersHaveTheRoomThatIsLeft) {
  options_.length = 1000;
  const auto counts = write("targets");
  ASSERT_TRUE(counts) << counts.error().message;
  EXPECT_EQ(counts->kept, 11);
}

TEST_F(WriteTargets, NamesWhatIsWrong) {
  const auto says = [&](const std::string& name, const std::string& words) {
    const std::string message = error_of(name);
    EXPECT_NE(message.find(words), std::string::npos) << "\"" << message << "\" lacks " << words;
  };
  prompts_[3][0].content = std::string(100, 'q');
  says("long", "prompt 4 has");
  EXPECT_FALSE(std::filesystem::exists(directory_.path("long.json")));
  prompts_[3][0].content = "q";
  options_.batch = 0;
  says("batch", "batch 0");
  options_.batch = 3;
  options_.generate.sampler.threshold = 7;
  says("threshold", "threshold");
  options_.generate.sampler.threshold = 0.9f;

  directory_.write("other.jsonl", "{}\n");
  says("other", "move it away");
  EXPECT_EQ(content("other.jsonl"), "{}\n");

  ASSERT_TRUE(write("targets"));
  prompts_.pop_back();
  says("targets", "10 prompts, found a file for 11");
  prompts_.push_back(prompts_[0]);

  int batches = 0;
  options_.generate.on_step = [&](const DenoisingEvent& event) {
    if (event.step == 1 && event.request == 0 && ++batches == 3) stop_ = true;
  };
  ASSERT_TRUE(write("lost"));
  std::filesystem::remove(directory_.path("lost.jsonl"));
  stop_ = false;
  says("lost", "expected at least");
}

}  // namespace
}  // namespace unmask
