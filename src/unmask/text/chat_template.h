#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

struct Message {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
  bool given = false;  // an answer that is not to be learned, part of later prompts only
};
using Conversation = std::vector<Message>;

// How the messages of a conversation become one text.
struct ChatTemplate {
  std::string_view system, user, assistant;  // what a message of the role begins with
  std::string_view end;                      // of a message, and so of an answer
  std::string_view between;                  // messages, behind `end`
  // The last line of what the system says first; where it says nothing, all of it.
  std::string_view directive;

  // LLaDA2's,
  //   <role>SYSTEM</role>…<|role_end|><role>HUMAN</role>…<|role_end|><role>ASSISTANT</role>…
  // with the directive "detailed thinking off" where the tokenizer comes with a template that says
  // so (LLaDA2.0, LLaDA-MoE), or ChatML, of models that were adapted from Qwen (SDAR),
  //   <|im_start|>system⏎…<|im_end|>⏎<|im_start|>user⏎…<|im_end|>⏎<|im_start|>assistant⏎…
  // Without a template that is one of these, the one that the tokenizer has tokens for; with tokens
  // for neither, LLaDA2's as plain text.
  static const ChatTemplate& of(const Tokenizer& tokenizer);
  // Whether the tokenizer's own template is one of these, or it has none.
  static bool knows(const Tokenizer& tokenizer);

  // The text a model is given to answer: all messages and the beginning of the next answer. Of
  // earlier answers what stands behind </think>.
  Result<std::string> prompt(std::span<const Message> messages) const;
};

// Whether every role is known.
Status check_roles(std::span<const Message> messages);

}  // namespace unmask
