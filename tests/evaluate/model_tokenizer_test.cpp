#include "unmask/evaluate/model_tokenizer.h"

#include "tests/diffusion/tiny_model.h"
#include "tests/support/temporary_directory.h"
#include <string>

#include "unmask/text/byte_tokenizer.h"

namespace unmask {
namespace {

TEST(LoadTokenizer, IsThatOfTheModel) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(ByteTokenizer().save(directory.path()).ok());
  ModelConfig config = tiny_byte_config(64);
  EXPECT_TRUE(load_tokenizer(directory.path(), config).ok());
  config.vocab_size = 257;
  const auto large = load_tokenizer(directory.path(), config);
  ASSERT_FALSE(large.ok());
  EXPECT_NE(large.error().message.find("embeddings for 257"), std::string::npos);
  config.vocab_size = 258;
  config.mask_token = 255;
  const auto other = load_tokenizer(directory.path(), config);
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("config.json 255"), std::string::npos);
}

}  // namespace
}  // namespace unmask
