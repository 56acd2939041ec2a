#include "unmask/text/documents.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/base/mapped_file.h"
#include "unmask/base/parallel.h"
#include "unmask/text/line_reader.h"
#include "unmask/text/utf8.h"

namespace unmask {
namespace {

constexpr size_t kPiece = size_t{1} << 18;  // bytes of plain text that one task encodes
constexpr size_t kBatch = 64;               // tasks before their results are written

using Ids = std::optional<Result<std::vector<int32_t>>>;

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Where the piece that begins at `begin` may end without changing the tokens (see separates_lines).
size_t piece_end(std::string_view text, size_t begin, bool separates_lines) {
  if (!separates_lines) return text.size();
  for (size_t i = std::min(begin + kPiece, text.size()); i < text.size(); ++i) {
    if (text[i] == '\n' && is_letter(text[i - 1])) return i;
  }
  return text.size();
}

// Bytes that no text has, though some tokenizers would take them.
Status check_is_text(const MappedFile& file) {
  const std::string_view text = text_of(file);
  if (text.starts_with("\x1f\x8b")) {
    return failure("{}: expected text, found gzip data: unpack it first", file.path());
  }
  const size_t zero = text.substr(0, size_t{1} << 20).find('\0');
  if (zero != std::string_view::npos) {
    return failure("{}: expected text, found a zero byte at offset {}", file.path(), zero);
  }
  return {};
}

// A mark that some editors begin UTF-8 with; no part of the text.
std::string_view without_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  return text.starts_with(kMark) ? text.substr(kMark.size()) : text;
}

// handle(text) for every line that is not blank; errors name the line.
template <class Handle>
Status for_lines(const MappedFile& file, Handle&& handle) {
  LineReader reader(text_of(file));
  while (const auto line = reader.next()) {
    if (const Status status = handle(line->text); !status) {
      return failure("{}:{}: {}", file.path(), line->number, status.error().message);
    }
  }
  return {};
}

Result<std::string> text_in(std::string_view line) {
  const auto document = json_in(line);
  if (document.is_discarded()) {
    UNMASK_TRY_STATUS(check_utf8(line));  // which JSON has to be
    return failure("expected {{\"text\": …}}, found no JSON");
  }
  if (!document.is_object() || !document.contains("text") || !document["text"].is_string()) {
    return failure("expected {{\"text\": …}}, found JSON without a string of that name");
  }
  return document["text"].get<std::string>();
}

Result<std::vector<int32_t>> encode_line(std::string_view line, const Tokenizer& tokenizer) {
  UNMASK_TRY(const std::string text, text_in(line));
  return tokenizer.encode(text);
}

Status tokenize_plain(const MappedFile& file, const Tokenizer& tokenizer, DocumentSink& sink) {
  UNMASK_TRY_STATUS(check_is_text(file));
  const std::string_view text = without_mark(text_of(file));
  if (text.empty()) return {};
  std::vector<size_t> bounds;
  std::vector<Ids> results;
  size_t begin = 0;
  while (begin < text.size()) {
    bounds.assign(1, begin);
    while (bounds.back() < text.size() && bounds.size() <= kBatch) {
      bounds.push_back(piece_end(text, bounds.back(), tokenizer.separates_lines()));
    }
    results.assign(bounds.size() - 1, std::nullopt);
    parallel_for(static_cast<int64_t>(results.size()), [&](int64_t i) {
      results[i] = tokenizer.encode(text.substr(bounds[i], bounds[i + 1] - bounds[i]));
    });
    for (size_t i = 0; i < results.size(); ++i) {
      if (!results[i]->ok()) {
        // Tokenizers count offsets from the beginning of what they are given.
        const Status whole = check_utf8(text);
        return failure("{}: {}", file.path(),
                       whole.ok() ? results[i]->error().message : whole.error().message);
      }
      UNMASK_TRY_STATUS(sink.append(results[i]->value()));
    }
    begin = bounds.back();
  }
  return sink.end_document();
}

Status tokenize_lines(const MappedFile& file, const Tokenizer& tokenizer, DocumentSink& sink) {
  LineReader reader(text_of(file));
  std::vector<LineReader::Line> lines;
  std::vector<Ids> results;
  while (true) {
    lines.clear();
    for (size_t bytes = 0; bytes < kBatch * kPiece;) {
      const auto line = reader.next();
      if (!line) break;
      bytes += line->text.size();
      lines.push_back(*line);
    }
    if (lines.empty()) return {};
    results.assign(lines.size(), std::nullopt);
    parallel_for(static_cast<int64_t>(lines.size()),
                 [&](int64_t i) { results[i] = encode_line(lines[i].text, tokenizer); });
    for (size_t i = 0; i < lines.size(); ++i) {
      if (!results[i]->ok()) {
        return failure("{}:{}: {}", file.path(), lines[i].number, results[i]->error().message);
      }
      UNMASK_TRY_STATUS(sink.append(results[i]->value()));
      UNMASK_TRY_STATUS(sink.end_document());
    }
  }
}

}  // namespace

Result<TextForm> text_form(const std::string& path) {
  if (!path.ends_with(".jsonl") && !path.ends_with(".json")) return TextForm::plain;
  UNMASK_TRY(const MappedFile file, MappedFile::open(path));
  const auto line = LineReader(text_of(file)).next();
  if (!line) return TextForm::lines_of_text;
  if (const Status utf8 = check_utf8(line->text); !utf8) {
    return failure("{}:{}: {}", path, line->number, utf8.error().message);
  }
  const auto first = json_in(line->text);
  if (first.is_object() && first.contains("messages")) return TextForm::conversations;
  if (first.is_object() && first.contains("text")) return TextForm::lines_of_text;
  return failure("{}:{}: expected a JSON object with \"text\" or \"messages\"", path, line->number);
}

Status tokenize_documents(const std::string& path, const Tokenizer& tokenizer, DocumentSink& sink) {
  UNMASK_TRY(const TextForm form, text_form(path));
  UNMASK_TRY(const MappedFile file, MappedFile::open(path));
  switch (form) {
    case TextForm::plain:
      return tokenize_plain(file, tokenizer, sink);
    case TextForm::lines_of_text:
      return tokenize_lines(file, tokenizer, sink);
    case TextForm::conversations:
      break;
  }
  return failure(
      "{}: conversations have prompts and answers, which a token dataset cannot mark; "
      "name the file itself as training data",
      path);
}

Result<std::vector<std::string>> read_texts(const std::string& path) {
  UNMASK_TRY(const TextForm form, text_form(path));
  UNMASK_TRY(const MappedFile file, MappedFile::open(path));
  if (form == TextForm::plain) {
    UNMASK_TRY_STATUS(check_is_text(file));
    return std::vector<std::string>{std::string(without_mark(text_of(file)))};
  }
  std::vector<std::string> texts;
  UNMASK_TRY_STATUS(for_lines(file, [&](std::string_view line) -> Status {
    UNMASK_TRY(std::string text, text_in(line));
    texts.push_back(std::move(text));
    return {};
  }));
  return texts;
}

Status read_conversations(const std::string& path, const Tokenizer& tokenizer,
                          ConversationSequences& sequences) {
  UNMASK_TRY(const MappedFile file, MappedFile::open(path));
  return for_lines(file, [&](std::string_view line) -> Status {
    UNMASK_TRY(const Conversation conversation, parse_conversation(line));
    return sequences.add(conversation, tokenizer);
  });
}

Result<std::vector<Conversation>> read_prompts(const std::string& path) {
  UNMASK_TRY(const MappedFile file, MappedFile::open(path));
  std::vector<Conversation> prompts;
  UNMASK_TRY_STATUS(for_lines(file, [&](std::string_view line) -> Status {
    UNMASK_TRY(Conversation prompt, parse_prompt(line));
    prompts.push_back(std::move(prompt));
    return {};
  }));
  return prompts;
}

}  // namespace unmask
