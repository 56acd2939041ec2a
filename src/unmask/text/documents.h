#pragma once

#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/text/conversations.h"
#include "unmask/text/token_stream.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

enum class TextForm {
  plain,          // the file is one document
  lines_of_text,  // JSON lines with `text`: a document each
  conversations,  // JSON lines with `messages`
};

// .jsonl and .json are JSON lines, told apart by the first of them; everything else is plain text.
Result<TextForm> text_form(const std::string& path);

// Tokenizes a file into the sink on all threads, a few megabytes at a time. What is written does
// not depend on the number of threads. Errors name the file and the offset or line.
Status tokenize_documents(const std::string& path, const Tokenizer& tokenizer, DocumentSink& sink);

// Reads a file of conversations.
Status read_conversations(const std::string& path, const Tokenizer& tokenizer,
                          ConversationSequences& sequences);

// Reads a file of prompts, JSON lines of any name (parse_prompt).
Result<std::vector<Conversation>> read_prompts(const std::string& path);

// The documents of a file as texts.
Result<std::vector<std::string>> read_texts(const std::string& path);

}  // namespace unmask
