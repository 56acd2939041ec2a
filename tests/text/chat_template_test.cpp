#include "unmask/text/chat_template.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/text/byte_tokenizer.h"
#include "unmask/text/stop_strings.h"

namespace unmask {
namespace {

// Bytes, and some names that are tokens of their own.
class NamedTokens final : public Tokenizer {
 public:
  explicit NamedTokens(std::vector<std::string> names, std::string chat_template = "")
      : names_(std::move(names)) {
    chat_template_ = std::move(chat_template);
  }

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    return bytes_.encode(text);
  }
  int32_t vocab_size() const override { return kFirst + static_cast<int32_t>(names_.size()); }
  std::optional<int32_t> token_id(std::string_view name) const override {
    const auto found = std::ranges::find(names_, name);
    if (found == names_.end()) return std::nullopt;
    return kFirst + static_cast<int32_t>(found - names_.begin());
  }
  std::string token_text(int32_t id) const override { return bytes_.token_text(id); }
  Status save(const std::string&) const override { return {}; }
  bool separates_lines() const override { return true; }

  static constexpr int32_t kFirst = 300;

 private:
  ByteTokenizer bytes_;
  std::vector<std::string> names_;
};

const Conversation kConversation = {
    {"system", "S"}, {"user", "Q"}, {"assistant", "A"}, {"user", "R"}};

std::string prompt_of(const Tokenizer& tokenizer) {
  return ChatTemplate::of(tokenizer).prompt(kConversation).value();
}

constexpr const char* kInLlada2 =
    "<role>SYSTEM</role>S<|role_end|><role>HUMAN</role>Q<|role_end|><role>ASSISTANT</role>A"
    "<|role_end|><role>HUMAN</role>R<|role_end|><role>ASSISTANT</role>";
constexpr const char* kInChatMl =
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA"
    "<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n";

TEST(ChatTemplate, IsTheOneThatTheTokenizerHasTokensFor) {
  EXPECT_EQ(prompt_of(NamedTokens({"<|role_end|>"})), kInLlada2);
  EXPECT_EQ(prompt_of(NamedTokens({"<|im_start|>", "<|im_end|>"})), kInChatMl);
  EXPECT_EQ(prompt_of(NamedTokens({"<|im_start|>", "<|im_end|>", "<|role_end|>"})), kInLlada2);
  EXPECT_EQ(prompt_of(NamedTokens({"<|im_end|>"})), kInLlada2);
  EXPECT_EQ(prompt_of(ByteTokenizer()), kInLlada2);
}

// How such templates begin.
constexpr const char* kWritesLlada2 =
    "{{ '<role>HUMAN</role>' + message.content + '<|role_end|>' }}";
constexpr const char* kWritesDirective =
    "{{ '<role>SYSTEM</role>' }}{{ 'detailed thinking ' + thinking_option + '<|role_end|>' }}";
constexpr const char* kWritesChatMl = "{{ '<|im_start|>' + message.role + '\\n' }}";
constexpr const char* kWritesLlama = "{{ '<|start_header_id|>' + message.role }}";

TEST(ChatTemplate, IsTheOneThatTheTokenizerComesWith) {
  EXPECT_EQ(prompt_of(NamedTokens({"<|im_start|>", "<|im_end|>"}, kWritesLlada2)), kInLlada2);
  EXPECT_EQ(prompt_of(NamedTokens({"<|role_end|>"}, kWritesChatMl)), kInChatMl);
  EXPECT_EQ(prompt_of(NamedTokens({"<|im_start|>", "<|im_end|>"}, kWritesLlama)), kInChatMl);
  EXPECT_FALSE(ChatTemplate::knows(NamedTokens({"<|role_end|>"}, kWritesLlama)));
  EXPECT_FALSE(ChatTemplate::knows(
      NamedTokens({}, "{{ '<|im_start|>system\\nYou are here to help.<|im_end|>\\n' }}")));
  EXPECT_TRUE(
      ChatTemplate::knows(NamedTokens({}, "{{ '<|im_start|>system\\n' + messages[0].content }}")));
  EXPECT_TRUE(ChatTemplate::knows(
      NamedTokens({}, "{{ \"<|im_start|>system\\n\" + messages[0].content }}")));
  for (const char* known : {"", kWritesLlada2, kWritesDirective, kWritesChatMl}) {
    EXPECT_TRUE(ChatTemplate::knows(NamedTokens({"<|role_end|>"}, known))) << known;
  }
}

// What the template of Ling 2.0, which LLaDA2.0 and LLaDA-MoE have, makes of these messages.
TEST(ChatTemplate, EndsTheFirstSystemMessageWithTheDirective) {
  const NamedTokens tokenizer({"<|role_end|>"}, kWritesDirective);
  const ChatTemplate& chat = ChatTemplate::of(tokenizer);
  const Conversation untold = {{"user", "Q"}};
  EXPECT_EQ(chat.prompt(untold).value(),
            "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role>Q<|role_end|>"
            "<role>ASSISTANT</role>");
  const Conversation told = {{"system", "S"}, {"user", "Q"}, {"system", "T"}};
  EXPECT_EQ(chat.prompt(told).value(),
            "<role>SYSTEM</role>S\ndetailed thinking off<|role_end|><role>HUMAN</role>Q<|role_end|>"
            "<role>SYSTEM</role>T<|role_end|><role>ASSISTANT</role>");
}

TEST(ChatTemplate, ForgetsTheReasoningOfEarlierAnswers) {
  Conversation conversation = kConversation;
  conversation[2].content = "<think>\nfirst</think>again</think>\n\nA";
  for (const NamedTokens& tokenizer :
       {NamedTokens({"<|role_end|>"}), NamedTokens({"<|im_start|>", "<|im_end|>"})}) {
    EXPECT_EQ(ChatTemplate::of(tokenizer).prompt(conversation).value(), prompt_of(tokenizer));
  }
  conversation[2].content = "</think>\n";
  conversation[3].content = "</think>R";
  EXPECT_EQ(ChatTemplate::of(NamedTokens({"<|role_end|>"})).prompt(conversation).value(),
            "<role>SYSTEM</role>S<|role_end|><role>HUMAN</role>Q<|role_end|>"
            "<role>ASSISTANT</role><|role_end|><role>HUMAN</role></think>R<|role_end|>"
            "<role>ASSISTANT</role>");
}

TEST(ChatTemplate, SaysWhereAnAnswerEnds) {
  const auto chat_ml =
      TextEnds::of_answers(NamedTokens({"<|im_start|>", "<|im_end|>"}), {"x"}).value();
  EXPECT_EQ(chat_ml.tokens, (std::vector<int32_t>{NamedTokens::kFirst + 1}));
  EXPECT_EQ(chat_ml.strings.before("a<|role_end|>b<|im_end|>cx"), "a<|role_end|>b<|im_end|>c");
  const auto plain = TextEnds::of_answers(ByteTokenizer(), {"x"}).value();
  EXPECT_TRUE(plain.tokens.empty());
  EXPECT_EQ(plain.strings.before("ax<|role_end|>"), "a");
  EXPECT_EQ(plain.strings.before("a<|role_end|>x"), "a");
  EXPECT_FALSE(TextEnds::of_answers(ByteTokenizer(), {""}).ok());
}

TEST(ChatTemplate, RefusesUnknownRoles) {
  const Conversation unknown = {{"user", "Q"}, {"robot", "A"}};
  for (const NamedTokens& tokenizer :
       {NamedTokens({}), NamedTokens({"<|im_start|>", "<|im_end|>"})}) {
    const auto prompt = ChatTemplate::of(tokenizer).prompt(unknown);
    ASSERT_FALSE(prompt.ok());
    EXPECT_NE(prompt.error().message.find("found \"robot\""), std::string::npos);
  }
}

}  // namespace
}  // namespace unmask
