#include "unmask/train/targets.h"

#include <algorithm>
#include <filesystem>
#include <xxhash.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/progress.h"
#include "unmask/evaluate/written_text.h"
#include "unmask/text/stop_strings.h"

namespace unmask {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

// What a file of targets holds. It is recorded behind each batch, so whatever the file has beyond
// `bytes` belongs to a batch that was not finished.
struct Written {
  TargetCounts counts;
  int64_t bytes = 0;
};

std::string line_of(const Conversation& prompt, const std::string& answer) {
  ordered_json messages = ordered_json::array();
  for (const Message& message : prompt) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
    if (message.role == "assistant") messages.back()["given"] = true;
  }
  messages.push_back({{"role", "assistant"}, {"content", answer}});
  const ordered_json line = {{"messages", messages}};
  return to_text(line) + "\n";
}

// Tells prompts from others.
struct PromptsId {
  int64_t count;
  std::string checksum;

  explicit PromptsId(std::span<const Conversation> prompts) : count(std::ssize(prompts)) {
    std::string lines;
    for (const Conversation& prompt : prompts) lines += line_of(prompt, "");
    checksum = fmt::format("{:016x}", XXH3_64bits(lines.data(), lines.size()));
  }
};

std::string counts_path(const std::string& path) {
  return fs::path(path).replace_extension(".json").string();
}

Status write_counts(const std::string& path, const Written& written, const PromptsId& prompts) {
  const ordered_json counts = {{"prompts", prompts.count},
                               {"checksum", prompts.checksum},
                               {"answered", written.counts.prompts},
                               {"kept", written.counts.kept},
                               {"unfinished", written.counts.unfinished},
                               {"bytes", written.bytes}};
  return write_file_atomically(counts_path(path), to_text(counts, 2) + "\n");
}

// Nothing, where no answers have been written yet.
Result<Written> read_counts(const std::string& path, const PromptsId& prompts) {
  const std::string counts = counts_path(path);
  if (!path_exists(counts)) {
    if (!path_exists(path)) return Written();
    return failure(
        "{}: expected no file there, or one with its {}, found one without; move it away", path,
        counts);
  }
  UNMASK_TRY(const nlohmann::json document, read_json_file(counts));
  Written written;
  int64_t of = 0;
  std::string of_checksum;
  Fields fields(document, "", counts);
  fields.require("prompts", of);
  fields.require("checksum", of_checksum);
  fields.require("answered", written.counts.prompts);
  fields.require("kept", written.counts.kept);
  fields.require("unfinished", written.counts.unfinished);
  fields.require("bytes", written.bytes);
  UNMASK_TRY_STATUS(fields.finish());
  const TargetCounts& c = written.counts;
  if (c.prompts < 0 || c.prompts > of || c.kept < 0 || c.unfinished < 0 || c.unsure() < 0 ||
      written.bytes < 0) {
    return failure("{}: damaged: its counts do not belong together; move it and {} away", counts,
                   path);
  }
  if (of != prompts.count) {
    return failure(
        "{}: expected answers to {} prompts, found a file for {}; go on with the same prompts, or "
        "begin a new one",
        path, prompts.count, of);
  }
  if (of_checksum != prompts.checksum) {
    return failure(
        "{}: expected answers to these {} prompts, found a file for others; go on with the same "
        "prompts, or begin a new one",
        path, of);
  }
  return written;
}

}  // namespace

Result<std::vector<std::vector<int32_t>>> encode_prompts(std::span<const Conversation> prompts,
                                                         const Tokenizer& tokenizer,
                                                         int32_t limit) {
  std::vector<std::vector<int32_t>> encoded;
  for (const Conversation& prompt : prompts) {
    UNMASK_TRY(const std::string text, ChatTemplate::of(tokenizer).prompt(prompt));
    UNMASK_TRY(auto tokens, tokenizer.encode(text));
    if (std::ssize(tokens) >= limit) {
      return failure(
          "prompt {} has {} tokens: expected fewer than {}, so that an answer has room; leave it "
          "out or shorten it",
          encoded.size() + 1, tokens.size(), limit);
    }
    encoded.push_back(std::move(tokens));
  }
  return encoded;
}

Result<TargetCounts> write_targets(Model& model, const Tokenizer& tokenizer,
                                   std::span<const Conversation> prompts,
                                   const TargetOptions& options, const std::string& path,
                                   const std::atomic<bool>& stop) {
  if (options.length < 1 || options.batch < 1) {
    return usage_error("length {} and batch {} of targets: expected at least 1 of each",
                       options.length, options.batch);
  }
  const ModelConfig& config = model.config();
  const int64_t count = std::ssize(prompts);
  UNMASK_TRY(const auto encoded, encode_prompts(prompts, tokenizer, config.max_positions));
  const PromptsId id(prompts);
  UNMASK_TRY(Written written, read_counts(path, id));
  UNMASK_TRY_STATUS(write_counts(path, written, id));

  UNMASK_TRY(const TextEnds ends, TextEnds::of_answers(tokenizer));
  GenerateOptions generate_options = options.generate;
  end_at(ends, tokenizer, generate_options);
  generate_options.cancel = &stop;

  std::optional<Progress> progress;
  if (options.show_progress) progress.emplace("targets", count, written.counts.prompts);
  Tape tape;
  while (written.counts.prompts < count) {
    const int64_t begin = written.counts.prompts;
    const int64_t end = std::min(begin + options.batch, count);
    std::vector<GenerateRequest> requests;
    for (int64_t i = begin; i < end; ++i) {
      const auto room = config.max_positions - static_cast<int32_t>(encoded[i].size());
      requests.push_back(
          {Canvas::continuation(encoded[i], std::min(options.length, room), config.mask_token),
           options.seed + static_cast<uint64_t>(i)});
    }
    UNMASK_TRY(const auto generations, generate(model, requests, generate_options, tape));
    if (std::ranges::any_of(generations, &Generation::cancelled)) break;

    std::string lines;
    for (int64_t i = begin; i < end; ++i) {
      const Generation& generation = generations[i - begin];
      ++written.counts.prompts;
      const bool sure = std::ranges::all_of(generation.confidence,
                                            [&](float c) { return c >= options.least_confidence; });
      written.counts.unfinished += !generation.ended;
      if (generation.ended && sure) {
        ++written.counts.kept;
        lines += line_of(prompts[i], written_text(generation, tokenizer, ends.strings));
      }
    }
    UNMASK_TRY_STATUS(replace_tail(path, written.bytes, lines));
    written.bytes += std::ssize(lines);
    UNMASK_TRY_STATUS(write_counts(path, written, id));
    if (progress) progress->update({.step = written.counts.prompts});
  }
  return written.counts;
}

Result<std::optional<TargetCounts>> finished_targets(const std::string& path,
                                                     std::span<const Conversation> prompts) {
  UNMASK_TRY(const Written written, read_counts(path, PromptsId(prompts)));
  if (written.counts.prompts < std::ssize(prompts)) return std::optional<TargetCounts>();
  std::error_code code;
  if (const auto bytes = fs::file_size(path, code);
      code || bytes != static_cast<uintmax_t>(written.bytes)) {
    return failure(
        "{}: expected the {} bytes that {} counts, found {}; move both away to write them again",
        path, written.bytes, counts_path(path), code ? 0 : bytes);
  }
  return std::optional(written.counts);
}

}  // namespace unmask
