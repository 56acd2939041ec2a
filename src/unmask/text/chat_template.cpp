#include "unmask/text/chat_template.h"

namespace unmask {
namespace {

constexpr ChatTemplate kLlada2 = {.system = "<role>SYSTEM</role>",
                                  .user = "<role>HUMAN</role>",
                                  .assistant = "<role>ASSISTANT</role>",
                                  .end = "<|role_end|>",
                                  .between = ""};
constexpr ChatTemplate kChatMl = {.system = "<|im_start|>system\n",
                                  .user = "<|im_start|>user\n",
                                  .assistant = "<|im_start|>assistant\n",
                                  .end = "<|im_end|>",
                                  .between = "\n"};

}  // namespace

const ChatTemplate& ChatTemplate::of(const Tokenizer& tokenizer) {
  const auto has = [&](std::string_view name) { return tokenizer.token_id(name).has_value(); };
  const bool chat_ml = has("<|im_start|>") && has(kChatMl.end) && !has(kLlada2.end);
  return chat_ml ? kChatMl : kLlada2;
}

Result<std::string> ChatTemplate::prompt(std::span<const Message> messages) const {
  UNMASK_TRY_STATUS(check_roles(messages));
  std::string text;
  for (const Message& message : messages) {
    const std::string_view begin = message.role == "system" ? system
                                   : message.role == "user" ? user
                                                            : assistant;
    text.append(begin).append(message.content).append(end).append(between);
  }
  return text.append(assistant);
}

Status check_roles(std::span<const Message> messages) {
  for (const Message& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      return failure("role: expected system, user or assistant, found \"{}\"", message.role);
    }
  }
  return {};
}

}  // namespace unmask
