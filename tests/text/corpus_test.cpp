#include "unmask/text/corpus.h"

#include "tests/support/temporary_directory.h"

#include <gtest/gtest.h>

#include "unmask/base/parallel.h"
#include "unmask/text/byte_tokenizer.h"
#include "unmask/text/conversations.h"
#include "unmask/text/documents.h"
#include "unmask/text/token_file.h"

namespace unmask {
namespace {

using test::TemporaryDirectory;

using Ids = std::vector<int32_t>;

// All sequences of a corpus of bytes, the end token as '|', one after the other.
std::string read_corpus(const std::vector<std::string>& paths, int32_t length = 1) {
  const auto source = open_corpus(paths, ByteTokenizer(), length);
  if (!source) return "error: " + source.error().message;
  std::string text;
  Ids ids(static_cast<size_t>(length));
  for (int64_t i = 0; i < source.value()->count(); ++i) {
    EXPECT_TRUE(source.value()->read(i, ids));
    for (const int32_t id : ids) text.push_back(id == 257 ? '|' : static_cast<char>(id));
  }
  return text;
}

Ids read_tokens(const std::string& path, const Tokenizer& tokenizer) {
  TokenBuffer buffer(*tokenizer.end_token());
  EXPECT_TRUE(tokenize_documents(path, tokenizer, buffer));
  Ids ids(static_cast<size_t>(buffer.size()));
  EXPECT_TRUE(buffer.read(0, ids));
  return ids;
}

TEST(Corpus, JoinsTextLinesAndDatasetsInOrder) {
  const TemporaryDirectory directory;
  const std::string text = directory.write("b.txt", "two words");
  const std::string lines =
      directory.write("a.jsonl", "{\"text\": \"x\\ny\"}\n\n{\"id\": 1, \"text\": \"\u00e9\"}\r\n");
  EXPECT_EQ(read_corpus({text, lines}), "two words|x\ny|\u00e9|");

  const ByteTokenizer tokenizer;
  auto writer = TokenFileWriter::create(directory.path("c"), 258, 257);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(tokenize_documents(text, tokenizer, *writer.value()));
  ASSERT_TRUE(tokenize_documents(lines, tokenizer, *writer.value()));
  ASSERT_TRUE(writer.value()->finish());
  EXPECT_EQ(read_corpus({directory.path("c")}), "two words|x\ny|\u00e9|");
  EXPECT_EQ(read_corpus({directory.path()}), "x\ny|\u00e9|two words|two words|x\ny|\u00e9|");
  EXPECT_EQ(read_corpus({text}, 4), "two word");
}

TEST(Corpus, AMarkAtTheBeginningIsNoText) {
  const TemporaryDirectory directory;
  const std::string text = directory.write("a.txt", "\xEF\xBB\xBFone");
  EXPECT_EQ(read_corpus({text}), "one|");
}

TEST(Corpus, BytesThatNoTextHasAreRefused) {
  const TemporaryDirectory directory;
  const auto error_of = [&](std::string_view bytes) {
    return read_corpus({directory.write("a.txt", std::string(bytes))});
  };
  EXPECT_NE(error_of("\x1f\x8b\x08 packed").find("found gzip data: unpack it"), std::string::npos);
  EXPECT_NE(error_of(std::string_view("ab\0c", 4)).find("zero byte at offset 2"),
            std::string::npos);
}

TEST(Corpus, BadInputIsAnErrorThatNamesItsPlace) {
  const TemporaryDirectory directory;
  const auto error_of = [&](const std::string& path) { return read_corpus({path}); };
  EXPECT_NE(error_of(directory.path("missing.txt")).find("missing.txt"), std::string::npos);
  EXPECT_NE(error_of(directory.path()).find("found none"), std::string::npos);
  EXPECT_NE(
      error_of(directory.write("a.jsonl", "{\"text\": \"x\"}\n{\"text\": 7}\n")).find("a.jsonl:2"),
      std::string::npos);
  EXPECT_NE(error_of(directory.write("b.jsonl", "{\"text\": \"x\"}\nnonsense")).find("b.jsonl:2"),
            std::string::npos);
  EXPECT_NE(
      error_of(directory.write("c.jsonl", "{\"body\": \"x\"}")).find("\"text\" or \"messages\""),
      std::string::npos);
  EXPECT_NE(read_corpus({}).find("error"), std::string::npos);

  const auto bpe =
      Tokenizer::load(UNMASK_SOURCE_DIR "/tests/data/tokenizers/split-digits.tokenizer.json");
  ASSERT_TRUE(bpe);
  const std::string prefix(1000000, 'a');
  const std::string binary = directory.write("d.txt", prefix + "\n\xFF");
  const auto source = open_corpus({&binary, 1}, *bpe.value(), 8);
  ASSERT_FALSE(source);
  EXPECT_NE(source.error().message.find("d.txt"), std::string::npos);
  EXPECT_NE(source.error().message.find("offset 1000001"), std::string::npos)
      << source.error().message;
}

TEST(Documents, LongTextInPiecesIsTheSameAsInOne) {
  const auto tokenizer =
      Tokenizer::load(UNMASK_SOURCE_DIR "/tests/data/tokenizers/split-digits.tokenizer.json");
  ASSERT_TRUE(tokenizer);
  std::string text;
  for (int i = 0; i < 40000; ++i) {
    text += "Line " + std::to_string(i) + (i % 3 == 0 ? " ends, \n\n" : " goes on\n  ");
  }
  ASSERT_GT(text.size(), size_t{1} << 19) << "more than two pieces";
  const TemporaryDirectory directory;
  const std::string path = directory.write("long.txt", text);
  Ids expected = *tokenizer.value()->encode(text);
  expected.push_back(*tokenizer.value()->end_token());
  const int threads = thread_count();
  for (const int count : {1, 4}) {
    set_thread_count(count);
    EXPECT_EQ(read_tokens(path, *tokenizer.value()), expected);
  }
  set_thread_count(threads);
}

constexpr const char* kConversations =
    R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"},)"
    R"( {"role": "assistant", "content": "A"}, {"role": "user", "content": "R"},)"
    R"( {"role": "assistant", "content": "B"}]})"
    "\n";

TEST(Conversations, EachAnswerIsASequenceWithItsPrompt) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("chat.jsonl", kConversations);
  const ByteTokenizer tokenizer;
  const auto source = open_corpus({&path, 1}, tokenizer, 256);
  ASSERT_TRUE(source) << source.error().message;
  ASSERT_EQ(source.value()->count(), 2);
  const std::string first_prompt =
      "<role>SYSTEM</role>S<|role_end|><role>HUMAN</role>Q<|role_end|><role>ASSISTANT</role>";
  const std::string second_prompt =
      first_prompt + "A<|role_end|><role>HUMAN</role>R<|role_end|><role>ASSISTANT</role>";
  int64_t index = 0;
  for (const auto& [prompt, answer] :
       {std::pair(first_prompt, "A"), std::pair(second_prompt, "B")}) {
    Ids ids(256);
    const auto bounds = source.value()->read(index++, ids);
    ASSERT_TRUE(bounds);
    EXPECT_EQ(bounds->prompt, std::ssize(prompt));
    const std::string whole = prompt + answer + "<|role_end|>";
    EXPECT_EQ(bounds->length, std::ssize(whole) + 1);
    EXPECT_EQ(tokenizer.decode(std::span(ids).first(whole.size())), whole);
    for (size_t i = whole.size(); i < ids.size(); ++i) EXPECT_EQ(ids[i], 257);
  }
  Ids cut(90);
  const auto shorter = open_corpus({&path, 1}, tokenizer, 90);
  ASSERT_TRUE(shorter);
  ASSERT_EQ(shorter.value()->count(), 1) << "the second prompt alone is longer";
  EXPECT_EQ(shorter.value()->read(0, cut)->length, 90);
}

TEST(Conversations, GivenAnswersAreNotLearned) {
  ConversationSequences sequences(256, 257);
  const auto conversation = parse_conversation(
      R"({"messages": [{"role": "user", "content": "Q"},
                       {"role": "assistant", "content": "A", "given": true},
                       {"role": "user", "content": "R"},
                       {"role": "assistant", "content": "B"}]})");
  ASSERT_TRUE(conversation);
  ASSERT_TRUE(sequences.add(*conversation, ByteTokenizer()));
  ASSERT_EQ(sequences.count(), 1);
  Ids ids(256);
  const auto bounds = sequences.read(0, ids);
  const std::string prompt = ByteTokenizer().decode(std::span(ids).first(bounds->prompt));
  EXPECT_NE(prompt.find("A<|role_end|>"), std::string::npos) << prompt;
}

TEST(Conversations, PromptsAreWhatIsToBeAnswered) {
  const TemporaryDirectory directory;
  const auto prompts = read_prompts(directory.write(
      "prompts.jsonl",
      "{\"prompt\": \"one\"}\n\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"two\"}]}\n"
      "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", "
      "\"content\": \"three\"}, {\"role\": \"assistant\", \"content\": \"left out\"}]}\n"));
  ASSERT_TRUE(prompts) << prompts.error().message;
  ASSERT_EQ(prompts->size(), 3u);
  for (const Conversation& prompt : *prompts) EXPECT_EQ(prompt.back().role, "user");
  EXPECT_EQ((*prompts)[0].back().content, "one");
  EXPECT_EQ((*prompts)[1].back().content, "two");
  EXPECT_EQ((*prompts)[2].back().content, "three");
  EXPECT_EQ((*prompts)[2].size(), 2u);

  const auto error_of = [&](const std::string& line) {
    const auto read = read_prompts(directory.write("bad.jsonl", "{\"prompt\": \"x\"}\n" + line));
    return read ? "" : read.error().message;
  };
  for (const auto& [line, words] : {
           std::pair("{\"text\": \"x\"}", "\"prompt\""),
           std::pair("nonsense", "\"prompt\""),
           std::pair("{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}", "answer"),
           std::pair("{\"messages\": [{\"role\": \"robot\", \"content\": \"x\"}]}", "robot"),
       }) {
    EXPECT_NE(error_of(line).find("bad.jsonl:2: "), std::string::npos) << error_of(line);
    EXPECT_NE(error_of(line).find(words), std::string::npos) << error_of(line);
  }
}

TEST(Conversations, BadOnesAreErrors) {
  EXPECT_FALSE(parse_conversation("{}"));
  EXPECT_FALSE(parse_conversation(R"({"messages": []})"));
  EXPECT_FALSE(parse_conversation(R"({"messages": [{"role": "user"}]})"));
  const Conversation unknown = {{"robot", "x"}, {"assistant", "y"}};
  EXPECT_FALSE(ChatTemplate::of(ByteTokenizer()).prompt(unknown));

  const TemporaryDirectory directory;
  const std::string chat = directory.write("chat.jsonl", kConversations);
  const std::string text = directory.write("text.txt", "x");
  EXPECT_NE(read_corpus({chat, text}).find("cannot be mixed"), std::string::npos);
  TokenBuffer buffer(257);
  EXPECT_FALSE(tokenize_documents(chat, ByteTokenizer(), buffer));
}

TEST(Conversations, APromptThatFillsTheSequenceLeavesNothingToLearn) {
  const Conversation conversation = {{"user", "Q"}, {"assistant", "A"}};
  const ByteTokenizer tokenizer;
  const auto prompt = ChatTemplate::of(tokenizer).prompt(std::span(conversation).first(1)).value();
  for (const int32_t more : {0, 1}) {
    ConversationSequences sequences(static_cast<int32_t>(prompt.size()) + more, 257);
    ASSERT_TRUE(sequences.add(conversation, tokenizer));
    EXPECT_EQ(sequences.count(), more);
    EXPECT_EQ(sequences.left_out(), 1 - more);
  }
}

TEST(Documents, AByteOrderMarkIsNoPartOfAText) {
  const TemporaryDirectory directory;
  const auto texts = read_texts(directory.write("marked.txt",
                                                "\xEF\xBB\xBF"
                                                "a text"));
  ASSERT_TRUE(texts);
  EXPECT_EQ(*texts, (std::vector<std::string>{"a text"}));
}

}  // namespace
}  // namespace unmask
