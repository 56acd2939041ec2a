#include "unmask/text/chat_template.h"

#include <algorithm>

namespace unmask {
namespace {

constexpr ChatTemplate kLlada2 = {.system = "<role>SYSTEM</role>",
                                  .user = "<role>HUMAN</role>",
                                  .assistant = "<role>ASSISTANT</role>",
                                  .end = "<|role_end|>",
                                  .between = "",
                                  .directive = ""};
constexpr ChatTemplate kDirectedLlada2 = [] {
  ChatTemplate directed = kLlada2;
  directed.directive = "detailed thinking off";
  return directed;
}();
constexpr ChatTemplate kChatMl = {.system = "<|im_start|>system\n",
                                  .user = "<|im_start|>user\n",
                                  .assistant = "<|im_start|>assistant\n",
                                  .end = "<|im_end|>",
                                  .between = "\n",
                                  .directive = ""};

// Whether a template of ChatML itself says what the system says (Qwen2.5), rather than ending its
// string there. Line ends may be written as such or as \n.
bool has_own_system_message(std::string_view own) {
  for (const std::string_view begin : {"<|im_start|>system\n", "<|im_start|>system\\n"}) {
    for (size_t at = own.find(begin); at != own.npos; at = own.find(begin, at + 1)) {
      const size_t behind = at + begin.size();
      if (behind < own.size() && own[behind] != '\'' && own[behind] != '"' && own[behind] != '{') {
        return true;
      }
    }
  }
  return false;
}

// What later prompts show of an answer, as the models' own templates: none of its reasoning.
std::string_view without_reasoning(std::string_view answer) {
  constexpr std::string_view kEnd = "</think>";
  const size_t end = answer.rfind(kEnd);
  if (end == answer.npos) return answer;
  answer.remove_prefix(end + kEnd.size());
  answer.remove_prefix(std::min(answer.find_first_not_of('\n'), answer.size()));
  return answer;
}

// The one that a tokenizer's own template writes, told by words that only it has; null for others.
const ChatTemplate* written_by(std::string_view own) {
  const auto writes = [&](std::string_view words) { return own.find(words) != own.npos; };
  if (writes(kLlada2.end)) return writes("detailed thinking") ? &kDirectedLlada2 : &kLlada2;
  return writes("<|im_start|>") && !has_own_system_message(own) ? &kChatMl : nullptr;
}

}  // namespace

bool ChatTemplate::knows(const Tokenizer& tokenizer) {
  return tokenizer.chat_template().empty() || written_by(tokenizer.chat_template()) != nullptr;
}

const ChatTemplate& ChatTemplate::of(const Tokenizer& tokenizer) {
  if (const ChatTemplate* own = written_by(tokenizer.chat_template())) return *own;
  const auto has = [&](std::string_view name) { return tokenizer.token_id(name).has_value(); };
  const bool chat_ml = has("<|im_start|>") && has(kChatMl.end) && !has(kLlada2.end);
  return chat_ml ? kChatMl : kLlada2;
}

Result<std::string> ChatTemplate::prompt(std::span<const Message> messages) const {
  UNMASK_TRY_STATUS(check_roles(messages));
  std::string text;
  if (!directive.empty()) {
    text.append(system);
    if (!messages.empty() && messages.front().role == "system") {
      text.append(messages.front().content).append("\n");
      messages = messages.subspan(1);
    }
    text.append(directive).append(end).append(between);
  }
  for (const Message& message : messages) {
    const std::string_view begin = message.role == "system" ? system
                                   : message.role == "user" ? user
                                                            : assistant;
    const bool answer = message.role == "assistant";
    text.append(begin)
        .append(answer ? without_reasoning(message.content) : message.content)
        .append(end)
        .append(between);
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
