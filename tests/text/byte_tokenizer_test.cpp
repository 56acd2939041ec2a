#include "unmask/text/byte_tokenizer.h"

#include "tests/support/temporary_directory.h"

#include <gtest/gtest.h>

#include "unmask/base/random.h"

namespace unmask {
namespace {

using test::TemporaryDirectory;

TEST(ByteTokenizer, RoundTripsAnyBytes) {
  const ByteTokenizer tokenizer;
  for (uint32_t trial = 0; trial < 100; ++trial) {
    std::string text;
    for (uint32_t i = 0; i < trial; ++i) {
      text.push_back(static_cast<char>(random_bits({1, Purpose::synthetic}, trial, i)[0]));
    }
    const auto ids = tokenizer.encode(text);
    ASSERT_TRUE(ids);
    EXPECT_EQ(ids->size(), text.size());
    EXPECT_EQ(tokenizer.decode(*ids), text);
  }
}

TEST(ByteTokenizer, SpecialTokensAreIdsAndNeverText) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.vocab_size(), 258);
  EXPECT_EQ(tokenizer.mask_token(), 256);
  EXPECT_EQ(tokenizer.end_token(), 257);
  EXPECT_EQ(tokenizer.token_id("<|mask|>"), 256);
  const auto ids = tokenizer.encode("<|mask|>");
  ASSERT_TRUE(ids);
  EXPECT_EQ(ids->size(), 8u);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{'a', 256, 257, 258, -1}),
            "a<|mask|><|endoftext|>");
}

TEST(ByteTokenizer, IsLoadedFromWhatItSaved) {
  const TemporaryDirectory directory;
  ASSERT_TRUE(ByteTokenizer(SpecialTokens{"[MASK]", "[EOS]"}).save(directory.path()));
  const auto loaded = Tokenizer::load(directory.path());
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_NE(dynamic_cast<const ByteTokenizer*>(loaded.value().get()), nullptr);
  EXPECT_EQ(loaded.value()->token_text(256), "[MASK]");
  EXPECT_EQ(loaded.value()->token_text(257), "[EOS]");
  EXPECT_TRUE(loaded.value()->encode("\xFF\xFE")) << "bytes that are not UTF-8";
}

}  // namespace
}  // namespace unmask
