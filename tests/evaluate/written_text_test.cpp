#include "unmask/evaluate/written_text.h"

#include <gtest/gtest.h>

#include "unmask/text/byte_tokenizer.h"

namespace unmask {
namespace {

// "is" + "sue</end>…", of which `kept` tokens are the text.
Generation written(const Tokenizer& tokenizer, size_t kept, bool stopped) {
  const int32_t end = tokenizer.end_token().value();
  const int32_t mask = tokenizer.mask_token().value();
  const std::vector<int32_t> tokens = {'i', 's', 's', 'u', 'e', end, mask};
  Generation result;
  result.canvas = Canvas::continuation(std::span(tokens).first(2), 5, mask);
  for (int32_t i = 2; i < 6; ++i) result.canvas.commit(i, tokens[i]);
  result.tokens.assign(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(kept));
  result.ended = true;
  result.stopped = stopped;
  return result;
}

TEST(WrittenText, EndsBeforeAStopString) {
  const ByteTokenizer tokenizer;
  const StopStrings stops = StopStrings::create({"ue"}).value();
  const Generation g = written(tokenizer, 3, true);
  EXPECT_EQ(written_text(g, tokenizer, stops), "s");
  EXPECT_EQ(whole_text(g, tokenizer, stops), "iss");
}

TEST(WrittenText, NoStopStringRunsIntoTheNameOfAnEndToken) {
  const ByteTokenizer tokenizer;
  const std::string name = tokenizer.token_text(tokenizer.end_token().value());
  const StopStrings stops = StopStrings::create({"ue" + name.substr(0, 1)}).value();
  const Generation g = written(tokenizer, 5, false);
  EXPECT_EQ(written_text(g, tokenizer, stops), "sue");
  EXPECT_EQ(whole_text(g, tokenizer, stops), "issue");
}

}  // namespace
}  // namespace unmask
