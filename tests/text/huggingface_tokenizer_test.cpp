#include "unmask/text/huggingface_tokenizer.h"

#include "tests/support/temporary_directory.h"
#include <functional>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/text/byte_level.h"
#include "unmask/text/documents.h"
#include "unmask/text/token_stream.h"

namespace unmask {
namespace {

using test::TemporaryDirectory;

using nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr const char* kSplitDigits =
    UNMASK_SOURCE_DIR "/tests/data/tokenizers/split-digits.tokenizer.json";

// A tokenizer.json of the bytes and "ab", with room for a change.
json small_description() {
  json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[to_byte_level(static_cast<uint8_t>(byte))] = byte;
  }
  vocabulary["ab"] = 256;
  return {{"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b"}}}}};
}

Result<std::unique_ptr<Tokenizer>> parse(const json& description,
                                         const SpecialTokens& special = {}) {
  return HuggingFaceTokenizer::parse(to_text(description), "tokenizer.json", {special});
}

Ids encode(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text);
  EXPECT_TRUE(ids);
  return ids ? *ids : Ids{};
}

TEST(HuggingFaceTokenizer, ErrorsNameTheFeatureThatIsNotSupported) {
  struct Case {
    std::string expected;
    std::function<void(json&)> change;
  };
  const std::vector<Case> cases = {
      {"WordPiece", [](json& d) { d["model"]["type"] = "WordPiece"; }},
      {"model Unigram is not supported, only BPE",
       [](json& d) {
         d["model"] = {{"type", "Unigram"}, {"vocab", {{"a", 0}}}};
       }},
      {"at most 64 deep",
       [](json& d) {
         json deep;
         for (int i = 0; i < 100; ++i) {
           json outer = json::array();
           outer.push_back(std::move(deep));
           deep = std::move(outer);
         }
         d["post_processor"] = std::move(deep);
       }},
      {"dropout", [](json& d) { d["model"]["dropout"] = 0.1; }},
      {"end_of_word_suffix", [](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }},
      {"NFKC",
       [](json& d) {
         d["normalizer"] = {{"type", "NFKC"}};
       }},
      {"Metaspace",
       [](json& d) {
         d["pre_tokenizer"] = {{"type", "Metaspace"}};
       }},
      {"pre_tokenizer", [](json& d) { d["pre_tokenizer"] = nullptr; }},
      {"MergedWithNext",
       [](json& d) {
         d["pre_tokenizer"] = {
             {"type", "Split"}, {"behavior", "MergedWithNext"}, {"pattern", {{"String", "a"}}}};
       }},
      {"offset",
       [](json& d) {
         d["pre_tokenizer"] = {
             {"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "(a"}}}};
       }},
      {"classes inside",
       [](json& d) {
         d["pre_tokenizer"] = {
             {"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "[a&&[^b]]"}}}};
       }},
      {"WordPiece",
       [](json& d) {
         d["decoder"] = {{"type", "WordPiece"}};
       }},
      {"single_word",
       [](json& d) {
         d["added_tokens"] = {{{"id", 257}, {"content", "x"}, {"single_word", true}}};
       }},
      {"impossible id", [](json& d) { d["model"]["vocab"]["huge"] = int64_t{1} << 40; }},
      {"impossible id", [](json& d) { d["model"]["vocab"]["negative"] = -1; }},
      {"not all of its tokens", [](json& d) { d["model"]["merges"] = {"a c"}; }},
      {"lacks byte 0x61", [](json& d) { d["model"]["vocab"].erase("a"); }},
      {"merge", [](json& d) { d["model"]["merges"] = {7}; }},
      {"tokenizer.json", [](json& d) { d.erase("model"); }},
      {"tokenizer.json", [](json& d) { d["model"]["vocab"] = "none"; }},
      {"tokenizer.json", [](json& d) { d["added_tokens"] = {1}; }},
      {"tokenizer.json", [](json& d) { d = json::array(); }},
  };
  ASSERT_TRUE(parse(small_description()));
  for (const Case& c : cases) {
    json description = small_description();
    c.change(description);
    const auto tokenizer = parse(description);
    ASSERT_FALSE(tokenizer) << c.expected;
    EXPECT_NE(tokenizer.error().message.find(c.expected), std::string::npos)
        << tokenizer.error().message;
  }
}

TEST(HuggingFaceTokenizer, AddedTokensMayBeAbsent) {
  json description = small_description();
  description.erase("added_tokens");
  const auto tokenizer = parse(description);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(encode(*tokenizer.value(), "ab"), (Ids{256}));
}

TEST(HuggingFaceTokenizer, TruncatedFilesAreErrors) {
  const std::string text = to_text(small_description());
  for (size_t size = 0; size < text.size(); size += 7) {
    EXPECT_FALSE(HuggingFaceTokenizer::parse(text.substr(0, size), "tokenizer.json", {})) << size;
  }
}

TEST(HuggingFaceTokenizer, TextThatIsNotUtf8IsAnErrorWithItsOffset) {
  const auto tokenizer = Tokenizer::load(kSplitDigits);
  ASSERT_TRUE(tokenizer);
  const auto ids = tokenizer.value()->encode("caf\xC3\xA9 \xFF");
  ASSERT_FALSE(ids);
  EXPECT_NE(ids.error().message.find("0xff at offset 6"), std::string::npos) << ids.error().message;
}

TEST(HuggingFaceTokenizer, AnExplicitMaskTokenIsAddedAndSaved) {
  const auto base = parse(small_description());
  ASSERT_TRUE(base);
  EXPECT_EQ(base.value()->mask_token(), std::nullopt);

  const auto tokenizer = parse(small_description(), {"<M>", "<E>"});
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer.value()->mask_token(), 257);
  EXPECT_EQ(tokenizer.value()->end_token(), 258);
  EXPECT_EQ(tokenizer.value()->vocab_size(), 259);
  EXPECT_EQ(encode(*tokenizer.value(), "ab<M>a<E>"), (Ids{256, 257, 'a', 258}));

  const TemporaryDirectory directory;
  ASSERT_TRUE(tokenizer.value()->save(directory.path()));
  const auto loaded = Tokenizer::load(directory.path());
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded.value()->mask_token(), 257);
  EXPECT_EQ(loaded.value()->end_token(), 258);
  EXPECT_EQ(encode(*loaded.value(), "ab<M>a<E>"), (Ids{256, 257, 'a', 258}));
}

TEST(HuggingFaceTokenizer, DirectoriesSayWhichTokensAreSpecial) {
  const TemporaryDirectory directory;
  directory.write("tokenizer.json", to_text(small_description()));
  directory.write("tokenizer_config.json",
                  R"({"mask_token": {"content": "ab"}, "eos_token": "<E>"})");
  const auto tokenizer = Tokenizer::load(directory.path());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer.value()->mask_token(), 256);
  EXPECT_EQ(tokenizer.value()->end_token(), 257);
  const auto named = Tokenizer::load(directory.path(), {"a", "b"});
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named.value()->mask_token(), 'a') << "the caller's names win";
  EXPECT_EQ(named.value()->end_token(), 'b');
}

TEST(HuggingFaceTokenizer, DirectoriesSayHowConversationsAreWritten) {
  const TemporaryDirectory directory, saved;
  directory.write("tokenizer.json", to_text(small_description()));
  const auto loaded = [](const TemporaryDirectory& from) {
    auto tokenizer = Tokenizer::load(from.path());
    EXPECT_TRUE(tokenizer) << tokenizer.error().message;
    return std::move(tokenizer).value();
  };
  EXPECT_EQ(loaded(directory)->chat_template(), "");
  directory.write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(loaded(directory)->chat_template(), "one");
  EXPECT_EQ(Tokenizer::load(directory.path("tokenizer.json")).value()->chat_template(), "one");
  ASSERT_TRUE(loaded(directory)->save(saved.path()));
  EXPECT_EQ(loaded(saved)->chat_template(), "one");

  directory.write("tokenizer_config.json", R"({"chat_template": [
      {"name": "tools", "template": "t"}, 7, {"name": "default", "template": "two"}]})");
  EXPECT_EQ(loaded(directory)->chat_template(), "two");
  directory.write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_EQ(loaded(directory)->chat_template(), "");
  directory.write("chat_template.jinja", "three");
  EXPECT_EQ(loaded(directory)->chat_template(), "three");
}

TEST(HuggingFaceTokenizer, AddedTokensAreFoundLongestFirstAndStripAsTheySay) {
  json description = small_description();
  description["added_tokens"] = {
      {{"id", 257}, {"content", "<m>"}, {"lstrip", true}},
      {{"id", 258}, {"content", "<m>>"}, {"rstrip", true}},
  };
  const auto tokenizer = parse(description);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer.value(), "a \t<m> b"), (Ids{'a', 257, ' ', 'b'}));
  EXPECT_EQ(encode(*tokenizer.value(), " <m> <m>"), (Ids{257, 257}));
  EXPECT_EQ(encode(*tokenizer.value(), "a<m>>\xE3\x80\x80\nb"), (Ids{'a', 258, 'b'}));
}

TEST(HuggingFaceTokenizer, PrefixSpaceIsPutBeforeText) {
  json description = small_description();
  description["pre_tokenizer"]["add_prefix_space"] = true;
  const auto tokenizer = parse(description);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer.value(), "ab"), (Ids{' ', 256}));
  EXPECT_EQ(encode(*tokenizer.value(), " ab"), (Ids{' ', 256}));
  EXPECT_FALSE(tokenizer.value()->separates_lines());
  for (const std::string text : {"ab", "a b", "", "\n ab"}) {
    EXPECT_EQ(tokenizer.value()->decode(encode(*tokenizer.value(), text)), text);
  }
}

TEST(HuggingFaceTokenizer, TextBehindOthersGetsNoPrefixSpace) {
  json description = small_description();
  description["pre_tokenizer"]["add_prefix_space"] = true;
  description["added_tokens"] = {{{"id", 257}, {"content", "<m>"}}};
  const auto tokenizer = parse(description);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer.value()->encode_behind("ab").value(), (Ids{256}));
  EXPECT_EQ(tokenizer.value()->encode_behind(" ab").value(), (Ids{' ', 256}));
  EXPECT_EQ(tokenizer.value()->encode_behind("ab<m>ab").value(), (Ids{256, 257, ' ', 256}));
  EXPECT_EQ(tokenizer.value()->encode_behind("<m>ab").value(), (Ids{257, ' ', 256}));
}

TEST(HuggingFaceTokenizer, WholeWordsGoBeforeMerges) {
  json description = small_description();
  description["model"]["vocab"]["bab"] = 257;
  EXPECT_EQ(encode(*parse(description).value(), "bab"), (Ids{'b', 256}));
  description["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(*parse(description).value(), "bab"), (Ids{257}));
}

// Tokens are what a pattern matches; the rest of a text is dropped.
std::unique_ptr<Tokenizer> keeping(const char* pattern) {
  json description = small_description();
  description["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"behavior", "Removed"},
         {"invert", true},
         {"pattern", {{"Regex", pattern}}}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  auto tokenizer = parse(description);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

TEST(HuggingFaceTokenizer, WhiteSpaceIsUnicodes) {
  // U+180E is a space to PCRE2 only, U+0085 to Unicode only by the property White_Space.
  const auto tokenizer = keeping(R"(\S)");
  EXPECT_EQ(encode(*tokenizer, "\xE1\xA0\x8E").size(), 3u);
  EXPECT_EQ(encode(*tokenizer, "\xC2\x85\xE3\x80\x80 \n").size(), 0u);
}

// What a pattern keeps of a text.
std::string kept(const char* pattern, const char* text) {
  const auto tokenizer = keeping(pattern);
  return tokenizer->decode(encode(*tokenizer, text));
}

TEST(HuggingFaceTokenizer, PatternsMeanWhatTheyMeanToOniguruma) {
  EXPECT_EQ(kept(R"(\p{Han}+)", "中。文a「x」"), "中文");
  EXPECT_EQ(kept(R"([\p{Han}x]+)", "中。文a「x」"), "中文x");
  EXPECT_EQ(kept(R"(\P{Han}+)", "中。文"), "。");
  EXPECT_EQ(kept(R"(\p{Lu}+)", "aBC"), "BC");
  EXPECT_EQ(kept(R"(\h+)", "beef  xyz 12"), "beef12");
  EXPECT_EQ(kept(R"(\H+)", "ab yz"), " yz");
  EXPECT_EQ(kept(R"([^\n]+$|\n)", "abc\ndef"), "abc\ndef");
  EXPECT_EQ(kept(R"(^#+)", "a\n##b"), "##");
}

TEST(HuggingFaceTokenizer, AVeryLongWordTakesNoQuadraticTime) {
  const auto tokenizer = Tokenizer::load(kSplitDigits);
  ASSERT_TRUE(tokenizer);
  const std::string word(1 << 20, 'a');
  EXPECT_EQ(tokenizer.value()->decode(encode(*tokenizer.value(), word)), word);
}

TEST(HuggingFaceTokenizer, AVeryLongRunOfSpacesIsMatched) {
  const std::string text = std::string(11'000'000, ' ') + "a";  // beyond PCRE2's usual limit
  EXPECT_EQ(kept(R"(\s*[\r\n]+|\s+)", text.c_str()).size(), 11'000'000u);
}

TEST(HuggingFaceTokenizer, ThreadsShareIt) {
  const auto tokenizer = Tokenizer::load(kSplitDigits);
  ASSERT_TRUE(tokenizer);
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word" + std::to_string(i * 7919) + " and\n";
  const Ids expected = encode(*tokenizer.value(), text);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) {
    threads.emplace_back([&] { ids = encode(*tokenizer.value(), text); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) EXPECT_EQ(ids, expected);
}

TEST(HuggingFaceTokenizer, LinesCanBeEncodedApart) {
  for (const char* name : {"split-digits", "whole-lines"}) {
    const auto tokenizer = Tokenizer::load(UNMASK_SOURCE_DIR "/tests/data/tokenizers/" +
                                           std::string(name) + ".tokenizer.json");
    ASSERT_TRUE(tokenizer);
    ASSERT_TRUE(tokenizer.value()->separates_lines()) << name;
    for (const std::string b : {"\nb", "\n\n  b", "\n", "\n .\n"}) {
      Ids parts = encode(*tokenizer.value(), "One day");
      const Ids rest = encode(*tokenizer.value(), b);
      parts.insert(parts.end(), rest.begin(), rest.end());
      EXPECT_EQ(encode(*tokenizer.value(), "One day" + b), parts) << name;
    }
  }
}

TEST(TokenizerLoad, UnknownFilesAreErrors) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(Tokenizer::load(directory.path()));
  EXPECT_FALSE(Tokenizer::load(directory.path("missing.json")));
  EXPECT_FALSE(Tokenizer::load(directory.write("empty.model", "")));
  EXPECT_FALSE(Tokenizer::load(directory.write("nonsense.model", "nonsense")));
  const auto other = Tokenizer::load(directory.write("vocab.txt", "a"));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, Error::Kind::usage);
}

TEST(HuggingFaceTokenizer, NormalizedTokensAreFoundInNormalizedText) {
  json description = small_description();
  description["normalizer"] = {{"type", "NFC"}};
  description["pre_tokenizer"]["add_prefix_space"] = true;
  description["added_tokens"] = {// e and U+0301, which NFC makes one character
                                 {{"id", 257}, {"content", "<e\xCC\x81>"}, {"normalized", true}}};
  const auto tokenizer = parse(description);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer.value(), "<e\xCC\x81>"), (Ids{257}));
  EXPECT_EQ(encode(*tokenizer.value(), "<\xC3\xA9>"), (Ids{257}));
  EXPECT_EQ(tokenizer.value()->encode_behind("ab<\xC3\xA9>ab").value(), (Ids{256, 257, ' ', 256}));
}

TEST(HuggingFaceTokenizer, AddedTokensKeepTheIdOfTheVocabulary) {
  json description = small_description();
  description["added_tokens"] = {{{"id", 257}, {"content", "ab"}}};
  const auto tokenizer = parse(description);
  ASSERT_FALSE(tokenizer);
  EXPECT_NE(tokenizer.error().message.find("257, but 256 in the vocabulary"), std::string::npos)
      << tokenizer.error().message;
}

// What a finetune adds stands in tokenizer_config.json, sometimes there alone.
TEST(TokenizerLoad, AddsTheTokensOfTokenizerConfig) {
  const TemporaryDirectory directory;
  json description = small_description();
  description["added_tokens"] = {{{"id", 257}, {"content", "<end>"}},
                                 {{"id", 258}, {"content", "<MASK>"}}};
  directory.write("tokenizer.json", to_text(description));
  directory.write("tokenizer_config.json",
                  R"({"mask_token": "<|MASK|>", "eos_token": "<end>", "added_tokens_decoder": {
                        "260": {"content": "<far>", "rstrip": true}, "256": {"content": "ab"},
                        "258": {"content": "<|MASK|>"}, "999": {"content": "<end>"}}})");
  const auto check = [](const std::string& place) {
    const auto loaded = Tokenizer::load(place);
    ASSERT_TRUE(loaded) << loaded.error().message;
    const Tokenizer& tokenizer = *loaded.value();
    EXPECT_EQ(tokenizer.mask_token(), 258) << "another name of the same token";
    EXPECT_EQ(tokenizer.end_token(), 257) << "what tokenizer.json has keeps its id";
    EXPECT_EQ(tokenizer.vocab_size(), 261);
    EXPECT_EQ(tokenizer.token_text(258), "<|MASK|>");
    EXPECT_EQ(encode(tokenizer, "<|MASK|><far>  <end>"), (Ids{258, 260, 257}));
    EXPECT_EQ(encode(tokenizer, "aab"), (Ids{'a', 256}));
  };
  check(directory.path());
  const auto loaded = Tokenizer::load(directory.path());
  ASSERT_TRUE(loaded);
  const TemporaryDirectory copy;
  ASSERT_TRUE(loaded.value()->save(copy.path()));
  check(copy.path());

  directory.write("tokenizer_config.json",
                  R"({"added_tokens_decoder": {"two": {"content": "x"}}})");
  const auto wrong = Tokenizer::load(directory.path());
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("expected ids, found two"), std::string::npos)
      << wrong.error().message;
}

TEST(TokenizerLoad, JoinsVocabularyAndMerges) {
  const TemporaryDirectory directory;
  json vocabulary = small_description()["model"]["vocab"];
  vocabulary[to_byte_level(' ') + "ab"] = 257;
  directory.write("vocab.json", to_text(vocabulary));
  directory.write("merges.txt", "#version: 0.2\na b\r\n" + to_byte_level(' ') + " ab\n");
  directory.write("tokenizer_config.json",
                  R"({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<end>",
                      "added_tokens_decoder": {"258": {"content": "<end>"}}})");
  const auto loaded = Tokenizer::load(directory.path());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Tokenizer& tokenizer = *loaded.value();
  EXPECT_EQ(tokenizer.end_token(), 258);
  EXPECT_EQ(encode(tokenizer, "ab ab<end>12"), (Ids{256, 257, 258, '1', '2'}));
  const Ids composed = encode(tokenizer, "\xC3\xA9");
  EXPECT_EQ(encode(tokenizer, "e\xCC\x81"), composed) << "NFC";
  EXPECT_EQ(tokenizer.decode(Ids{256, 257, 258}), "ab ab<end>");

  directory.write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  const auto other = Tokenizer::load(directory.path());
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("tokenizer_config.json names GPT2Tokenizer"),
            std::string::npos)
      << other.error().message;
}

TEST(HuggingFaceTokenizer, ADecoderInASequenceOfOneIsThatDecoder) {
  json description = small_description();
  description["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}}}};
  EXPECT_TRUE(parse(description));
  description["decoder"]["decoders"].push_back({{"type", "Fuse"}});
  EXPECT_FALSE(parse(description));
}

TEST(HuggingFaceTokenizer, LongTextsAreCutOnlyWhereTokensEnd) {
  json description = small_description();
  description["model"]["vocab"]["\u010A\u010A"] = 257;  // two newlines
  description["model"]["merges"].push_back("\u010A \u010A");
  const auto tokenizer = parse(description);
  ASSERT_TRUE(tokenizer);
  ASSERT_TRUE(tokenizer.value()->separates_lines());
  std::string text = "a";
  while (text.size() < size_t{300} << 10) text += "!!\n\n\n";  // the first piece could end at 2^18
  const TemporaryDirectory directory;
  TokenBuffer buffer(0);
  ASSERT_TRUE(tokenize_documents(directory.write("long.txt", text), *tokenizer.value(), buffer));
  const Ids whole = encode(*tokenizer.value(), text);
  ASSERT_EQ(buffer.size(), std::ssize(whole) + 1);
  Ids found(whole.size());
  ASSERT_TRUE(buffer.read(0, found));
  EXPECT_EQ(found, whole);
}

}  // namespace
}  // namespace unmask
