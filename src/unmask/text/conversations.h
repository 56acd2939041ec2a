#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/text/chat_template.h"
#include "unmask/text/sequences.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// {"messages": [{"role": …, "content": …}, …]}, as the text of one line; a message may say
// "given": true.
Result<Conversation> parse_conversation(std::string_view json);

// A conversation that is to be answered: {"prompt": …}, or {"messages": …}, of which an answer at
// the end is left out. Fails where there is nothing to answer, or on unknown roles.
Result<Conversation> parse_prompt(std::string_view json);

// One sequence for each answer of the conversations that is not `given`: what precedes it is the
// prompt, the answer with its end (ChatTemplate) and the end token the response, filled up with end
// tokens. An answer that does not fit is cut; one whose prompt fills the sequence is left out.
class ConversationSequences final : public SequenceSource {
 public:
  ConversationSequences(int32_t length, int32_t end_token)
      : length_(length), end_token_(end_token) {}

  Status add(const Conversation& conversation, const Tokenizer& tokenizer);
  int64_t left_out() const { return left_out_; }

  int64_t count() const override { return static_cast<int64_t>(examples_.size()); }
  int32_t length() const override { return length_; }
  Result<SequenceBounds> read(int64_t index, std::span<int32_t> out) const override;

 private:
  struct Example {
    int64_t begin = 0;  // in tokens_
    SequenceBounds bounds;
  };
  int32_t length_;
  int32_t end_token_;
  std::vector<int32_t> tokens_;
  std::vector<Example> examples_;
  int64_t left_out_ = 0;
};

}  // namespace unmask
