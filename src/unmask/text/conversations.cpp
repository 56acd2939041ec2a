#include "unmask/text/conversations.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {

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
  UNMASK_TRY_STATUS(check_roles(conversation));
  return conversation;
}

Status ConversationSequences::add(const Conversation& conversation, const Tokenizer& tokenizer) {
  const auto room = static_cast<size_t>(length_);
  const ChatTemplate& chat = ChatTemplate::of(tokenizer);
  for (size_t turn = 0; turn < conversation.size(); ++turn) {
    if (conversation[turn].role != "assistant" || conversation[turn].given) continue;
    UNMASK_TRY(const std::string prompt, chat.prompt(std::span(conversation).first(turn)));
    UNMASK_TRY(auto tokens, tokenizer.encode(prompt));
    if (tokens.size() >= room) {
      ++left_out_;
      continue;
    }
    const auto prompt_length = static_cast<int32_t>(tokens.size());
    UNMASK_TRY(const auto answer,
               tokenizer.encode(conversation[turn].content + std::string(chat.end)));
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
