#include "unmask/text/sentencepiece_tokenizer.h"

#include "tests/support/temporary_directory.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

using test::TemporaryDirectory;

std::vector<std::string> training_texts() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    text += "The whale swam in the sea, and the sailors sang of the white whale.\n";
    text += "Number " + std::to_string(i) + " was seen near the coast of Nantucket.\n";
  }
  return {text};
}

std::unique_ptr<Tokenizer> trained(const SpecialTokens& special = {}) {
  auto model = train_sentencepiece(training_texts(), 400);
  EXPECT_TRUE(model) << model.error().message;
  auto tokenizer = SentencePieceTokenizer::parse(std::move(model).value(), "model", special);
  EXPECT_TRUE(tokenizer);
  return std::move(tokenizer).value();
}

TEST(SentencePieceTokenizer, GivesBackEveryText) {
  const auto tokenizer = trained();
  EXPECT_EQ(tokenizer->vocab_size(), 400);
  for (const std::string text :
       {"the white whale", "  spaces   kept  ", "a\nb\n\n\tc\r\n",
        "caf\u00e9 \u6771\u4eac \U0001F600", "", " ", "\u2581 \u2581\u2581", "<mask></s>", "ﬁ Å"}) {
    const auto ids = tokenizer->encode(text);
    ASSERT_TRUE(ids);
    EXPECT_EQ(tokenizer->decode(*ids), text);
  }
  const auto learnt = tokenizer->encode("the whale");
  ASSERT_TRUE(learnt);
  EXPECT_LT(learnt->size(), 5u) << "frequent words are few pieces";
}

TEST(SentencePieceTokenizer, HasMaskAndEnd) {
  const auto tokenizer = trained();
  ASSERT_TRUE(tokenizer->mask_token());
  ASSERT_TRUE(tokenizer->end_token());
  EXPECT_EQ(tokenizer->token_text(*tokenizer->mask_token()), "<mask>");
  EXPECT_EQ(tokenizer->token_text(*tokenizer->end_token()), "</s>");
  EXPECT_EQ(tokenizer->token_id("no such piece"), std::nullopt);
}

TEST(SentencePieceTokenizer, IsLoadedFromWhatItSavedWithDeclaredTokens) {
  const auto tokenizer = trained({"<|new mask|>", std::nullopt});
  EXPECT_EQ(tokenizer->mask_token(), 400);
  EXPECT_EQ(tokenizer->vocab_size(), 401);
  const TemporaryDirectory directory;
  ASSERT_TRUE(tokenizer->save(directory.path()));
  const auto loaded = Tokenizer::load(directory.path());
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded.value()->mask_token(), 400);
  EXPECT_EQ(loaded.value()->end_token(), tokenizer->end_token());
  EXPECT_EQ(loaded.value()->decode(std::vector<int32_t>{400}), "<|new mask|>");
}

TEST(SentencePieceTokenizer, LinesCanBeEncodedApart) {
  const auto tokenizer = trained();
  ASSERT_TRUE(tokenizer->separates_lines());
  auto parts = tokenizer->encode("the whale");
  const auto rest = tokenizer->encode("\n  swam\n");
  const auto whole = tokenizer->encode("the whale\n  swam\n");
  ASSERT_TRUE(parts.ok() && rest.ok() && whole.ok());
  parts->insert(parts->end(), rest->begin(), rest->end());
  EXPECT_EQ(*parts, *whole);
}

TEST(SentencePieceTokenizer, ImpossibleTrainingIsAnError) {
  EXPECT_FALSE(train_sentencepiece({}, 400));
  EXPECT_FALSE(train_sentencepiece(training_texts(), 10)) << "less than the bytes";
  EXPECT_FALSE(train_sentencepiece(training_texts(), 100000)) << "more than the text holds";
  EXPECT_FALSE(train_sentencepiece({"\xFF"}, 400));
}

TEST(SentencePieceTokenizer, TextThatIsNotUtf8IsAnError) {
  const auto ids = trained()->encode("ab\x80");
  ASSERT_FALSE(ids);
  EXPECT_NE(ids.error().message.find("offset 2"), std::string::npos);
}

TEST(SentencePieceTokenizer, LongLinesAreCutBetweenCharacters) {
  // Two bytes each behind one: the cut at 4096 bytes would fall into a character.
  std::string line = "a";
  for (int i = 0; i < 6000; ++i) line += i % 7 ? "\u00e9" : "\u00e8";
  const auto model = train_sentencepiece({line}, 270);
  ASSERT_TRUE(model) << model.error().message;
  const auto tokenizer = SentencePieceTokenizer::parse(*model, "model", {});
  ASSERT_TRUE(tokenizer);
  for (int32_t id = 0; id < tokenizer.value()->vocab_size(); ++id) {
    EXPECT_EQ(tokenizer.value()->token_text(id).find("\uFFFD") == std::string::npos, id != 0) << id;
  }
}

}  // namespace
}  // namespace unmask
