#include "unmask/text/conversations.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

Result<std::string> header(const Message& message) {
  if (message.role == "system") return std::string("<role>SYSTEM</role>");
  if (message.role == "user") return std::string("<role>HUMAN</role>");
  if (message.role == "assistant") return std::string("<role>ASSISTANT</role>");
  return failure("role: expected system, user or assistant, found \"{}\"", message.role);
}

}  // namespace

Result<std::string> render_prompt(std::span<const Message> messages) {
  std::string text;
  for (const Message& message : messages) {
    UNMASK_TRY(const std::string role, header(message));
    text.append(role).append(message.content).append(kRoleEnd);
  }
  return text + "<role>ASSISTANT</role>";
}

Result<Conversation> parse_conversation(std::string_view text) {
  Conversation conversation;
  try {
    const auto line = nlohmann::json::parse(text);
    for (const auto& message : line.at("messages")) {
      conversation.push_back({message.at("role").get<std::string>(),
                              message.at("content").get<std::string>(),
                              message.value("given", false)});
    }
  } catch (const nlohmann::json::exception& e) {
    return failure("expected {{\"messages\": [{{\"role\": …, \"content\": …}}]}}: {}", e.what());
  }
  if (conversation.empty()) return failure("expected messages, found none");
  return conversation;
}

Result<Conversation> parse_prompt(std::string_view text) {
  const auto line = json_in(text);
  Conversation conversation;
  if (line.is_object() && line.contains("prompt") && line["prompt"].is_string()) {
    conversation.push_back({"user", line["prompt"].get<std::string>()});
  } else if (line.is_object() && line.contains("messages")) {
    UNMASK_TRY(conversation, parse_conversation(text));
    if (conversation.back().role == "assistant") conversation.pop_back();
  } else {
    return failure("expected {{\"prompt\": text}} or {{\"messages\": [{{\"role\": …, …}}]}}");
  }
  if (conversation.empty()) return failure("expected a message to answer, found only an answer");
  if (const auto rendered = render_prompt(conversation); !rendered) return rendered.error();
  return conversation;
}

Status ConversationSequences::add(const Conversation& conversation, const Tokenizer& tokenizer) {
  const auto room = static_cast<size_t>(length_);
  for (size_t turn = 0; turn < conversation.size(); ++turn) {
    if (conversation[turn].role != "assistant" || conversation[turn].given) continue;
    UNMASK_TRY(const std::string prompt, render_prompt(std::span(conversation).first(turn)));
    UNMASK_TRY(auto tokens, tokenizer.encode(prompt));
    if (tokens.size() >= room) {
      ++left_out_;
      continue;
    }
    const auto prompt_length = static_cast<int32_t>(tokens.size());
    UNMASK_TRY(const auto answer,
               tokenizer.encode(conversation[turn].content + std::string(kRoleEnd)));
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    tokens.push_back(end_token_);
    tokens.resize(std::min(tokens.size(), room));
    examples_.push_back({static_cast<int64_t>(tokens_.size()),
                         {prompt_length, static_cast<int32_t>(tokens.size())}});
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  return {};
}

Result<SequenceBounds> ConversationSequences::read(int64_t index, std::span<int32_t> out) const {
  UNMASK_CHECK(std::ssize(out) == length_ && index >= 0 && index < count());
  const Example& example = examples_[static_cast<size_t>(index)];
  const auto rest =
      std::copy_n(tokens_.begin() + example.begin, example.bounds.length, out.begin());
  std::fill(rest, out.end(), end_token_);
  return example.bounds;
}

}  // namespace unmask
