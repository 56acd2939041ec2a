#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include "unmask/base/clock.h"
#include "unmask/base/files.h"
#include "unmask/base/log.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/output_path.h"
#include "unmask/cli/token_ids.h"
#include "unmask/cli/validators.h"
#include "unmask/text/corpus.h"
#include "unmask/text/documents.h"
#include "unmask/text/sentencepiece_tokenizer.h"
#include "unmask/text/token_file.h"
#include "unmask/text/tokenizer.h"

namespace unmask::cli {
namespace {

struct TokenizeOptions {
  std::string tokenizer;
  SpecialTokens special;
  std::vector<std::string> inputs;
  std::string out;
  std::optional<std::string> text;
  std::optional<std::string> ids;
  bool train = false;
  int32_t vocab_size = 0;
};

Status write_dataset(const TokenizeOptions& options, const Tokenizer& tokenizer) {
  if (!tokenizer.end_token()) {
    return usage_error("{}: no end token to close documents with; name one with --end-token",
                       options.tokenizer);
  }
  UNMASK_TRY(const auto files, corpus_files(options.inputs));
  UNMASK_TRY(const auto writer,
             TokenFileWriter::create(options.out, tokenizer.vocab_size(), *tokenizer.end_token()));
  const double begin = seconds_now();
  uintmax_t bytes = 0;
  for (const std::string& file : files) {
    if (is_token_file(file)) return usage_error("{}: expected text, found a token dataset", file);
    UNMASK_TRY_STATUS(tokenize_documents(file, tokenizer, *writer));
    std::error_code code;
    bytes += std::filesystem::file_size(file, code);
  }
  if (writer->documents() == 0) return failure("expected text, found only empty files");
  UNMASK_TRY_STATUS(writer->finish());
  const double seconds = seconds_now() - begin;
  const double megabytes = static_cast<double>(bytes) * 1e-6;
  log_info("{0}.bin, {0}.idx: {1} documents, {2} tokens of {3:.1f} MB text, {4:.1f} MB/s",
           options.out, writer->documents(), writer->tokens(), megabytes, megabytes / seconds);
  return {};
}

Status train(const TokenizeOptions& options) {
  if (options.inputs.empty() || options.out.empty() || options.vocab_size <= 0) {
    return usage_error("--train-sentencepiece needs text files, --vocab-size and --out FILE.model");
  }
  UNMASK_TRY(const auto files, corpus_files(options.inputs));
  UNMASK_TRY_STATUS(keep_inputs("--out", options.out, files));
  std::vector<std::string> texts;
  for (const std::string& file : files) {
    if (is_token_file(file)) return usage_error("{}: expected text, found a token dataset", file);
    UNMASK_TRY(auto read, read_texts(file));
    std::move(read.begin(), read.end(), std::back_inserter(texts));
  }
  UNMASK_TRY(const std::string model, train_sentencepiece(texts, options.vocab_size));
  return write_file_atomically(options.out, model);
}

Status tokenize(const TokenizeOptions& options) {
  if (options.train) return train(options);
  if (options.tokenizer.empty()) {
    return usage_error("expected --tokenizer with \"byte\", a tokenizer file or a checkpoint");
  }
  UNMASK_TRY(const auto tokenizer, Tokenizer::load(options.tokenizer, options.special));
  if (options.text) {
    UNMASK_TRY(const auto ids, tokenizer->encode(*options.text));
    fmt::print("{}\n", fmt::join(ids, " "));
    return {};
  }
  if (options.ids) {
    UNMASK_TRY(const auto ids, parse_token_ids("--decode", *options.ids, tokenizer->vocab_size()));
    fmt::print("{}\n", tokenizer->decode(ids));
    return {};
  }
  if (options.inputs.empty() || options.out.empty()) {
    return usage_error("expected text files and --out PREFIX, or --text, or --decode");
  }
  return write_dataset(options, *tokenizer);
}

}  // namespace

void add_tokenize(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "tokenize", "Write text as a token dataset, show ids, or train a SentencePiece model");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("input", options->inputs,
                      "Text (.txt: one document), JSON lines with \"text\", directories of them");
  command->add_option("--tokenizer", options->tokenizer,
                      "\"byte\", a tokenizer.json, a SentencePiece .model, or a checkpoint");
  command->add_option("--out", options->out, "PREFIX of .bin and .idx, or the model file");
  command->add_option("--text", options->text, "Print the ids of this text");
  command->add_option("--decode", options->ids, "Print the text of these ids (\"1 2 3\" or 1,2,3)");
  command->add_option("--mask-token", options->special.mask,
                      "Name of the mask token, added when the vocabulary lacks it");
  command->add_option("--end-token", options->special.end, "Name of the end token, likewise");
  command->add_flag("--train-sentencepiece", options->train,
                    "Train a model on the inputs instead, into --out");
  command->add_option("--vocab-size", options->vocab_size, "Size of the model to train")
      ->check(at_least(1));
  command->callback([options, &run] { run = [options] { return tokenize(*options); }; });
}

}  // namespace unmask::cli
