#include "unmask/text/stop_strings.h"

#include <gtest/gtest.h>

#include "unmask/text/byte_tokenizer.h"

namespace unmask {
namespace {

// Bytes of texts that begin with a space which decoding leaves out, as SentencePiece may have it.
class SpacedBytes final : public Tokenizer {
 public:
  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    return bytes_.encode(" " + std::string(text));
  }
  int32_t vocab_size() const override { return bytes_.vocab_size(); }
  std::optional<int32_t> token_id(std::string_view name) const override {
    return bytes_.token_id(name);
  }
  std::string token_text(int32_t id) const override { return bytes_.token_text(id); }
  Status save(const std::string&) const override { return {}; }
  bool separates_lines() const override { return true; }

 private:
  void finish_decoding(std::string& text) const override {
    if (text.starts_with(' ')) text.erase(0, 1);
  }
  ByteTokenizer bytes_;
};

TEST(StopStrings, MayBeginWithTheSpaceOfTheFirstToken) {
  const SpacedBytes tokenizer;
  const std::vector<int32_t> written = tokenizer.encode("his house").value();
  EXPECT_EQ(tokenizer.decode(written), "his house");
  EXPECT_EQ(tokenizer.decode_behind(written), " his house");
  const auto stopped = [&](const char* stop) {
    const StopStrings stops = StopStrings::create({stop}).value();
    return std::pair(stops.tokens_before(written, tokenizer),
                     stops.text_before(written, tokenizer));
  };
  EXPECT_EQ(stopped(" his"), std::pair(0, std::string()));
  EXPECT_EQ(stopped("his"), std::pair(1, std::string()));
  EXPECT_EQ(stopped(" house"), std::pair(4, std::string("his")));
  EXPECT_EQ(stopped("none"), std::pair(-1, std::string("his house")));
}

TEST(StopStrings, HoldBackWhatMayBeginTheLongest) {
  EXPECT_EQ(StopStrings().held_back(), 0u);
  EXPECT_EQ(StopStrings::create({"ab", "abcd", "c"}).value().held_back(), 3u);
}

}  // namespace
}  // namespace unmask
