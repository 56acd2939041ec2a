#include "unmask/diffusion/generate.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/log.h"
#include "unmask/checkpoint/loaded_model.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/decoding_flags.h"
#include "unmask/cli/interrupt.h"
#include "unmask/cli/token_ids.h"
#include "unmask/cli/watch.h"
#include "unmask/diffusion/generation_report.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/evaluate/written_text.h"
#include "unmask/text/stop_strings.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

struct GenerateArguments {
  std::string checkpoint;
  std::optional<std::string> prompt, prompt_file, tokens, infill;
  std::optional<int32_t> length;
  int32_t samples = 1;
  bool ignore_end = false;
  bool json = false;
  bool quiet = false;
  bool watch = false;
  DecodingFlags decoding;
};

// "It was [MASK:4] night": text with gaps of so many tokens.
Result<Canvas> parse_infill(std::string_view text, const Tokenizer& tokenizer, int32_t mask_token) {
  constexpr std::string_view kOpen = "[MASK:";
  std::vector<int32_t> tokens;
  std::vector<uint8_t> masked;
  bool gaps = false;
  while (!text.empty()) {
    const size_t open = std::min(text.find(kOpen), text.size());
    const std::string_view given = text.substr(0, open);
    UNMASK_TRY(const auto piece, gaps ? tokenizer.encode_behind(given) : tokenizer.encode(given));
    tokens.insert(tokens.end(), piece.begin(), piece.end());
    masked.resize(tokens.size(), 0);
    if (open == text.size()) break;
    text.remove_prefix(open);
    const std::string_view digits = text.substr(kOpen.size());
    int32_t count = 0;
    const char* const end = digits.data() + digits.size();
    const auto [next, error] = std::from_chars(digits.data(), end, count);
    if (error != std::errc() || next == end || *next != ']' || count < 1) {
      return usage_error("--infill: expected gaps like [MASK:8], found \"{}\"", text.substr(0, 16));
    }
    text.remove_prefix(static_cast<size_t>(next + 1 - text.data()));
    constexpr int32_t kLongestGap = 1 << 24;  // any model has fewer positions
    tokens.resize(tokens.size() + static_cast<size_t>(std::min(count, kLongestGap)), mask_token);
    masked.resize(tokens.size(), 1);
    gaps = true;
  }
  if (!gaps) return usage_error("--infill: expected at least one gap like [MASK:8]");
  return Canvas::infill(tokens, masked, mask_token);
}

Result<Canvas> make_canvas(const GenerateArguments& a, const Tokenizer* tokenizer,
                           const ModelConfig& config) {
  if (a.infill) {
    if (a.length) return usage_error("--length: --infill says with its gaps how much is missing");
    return parse_infill(*a.infill, *tokenizer, config.mask_token);
  }
  constexpr int32_t kUsualLength = 64;
  const int32_t length = a.length.value_or(kUsualLength);
  if (length < 1) return usage_error("--length {}: expected at least 1", length);
  if (length > config.max_positions) {
    return usage_error("--length {}: the model has {} positions", length, config.max_positions);
  }
  std::vector<int32_t> prompt;
  if (a.tokens) {
    UNMASK_TRY(prompt, parse_token_ids("--tokens", *a.tokens, config.vocab_size));
  } else if (a.prompt || a.prompt_file) {
    std::string text = a.prompt.value_or("");
    if (a.prompt_file) {
      UNMASK_TRY(text, read_file(*a.prompt_file));
    }
    UNMASK_TRY(prompt, tokenizer->encode(text));
  }
  return Canvas::continuation(prompt, length, config.mask_token);
}

// All that was committed before an interruption, with a low line for each masked position.
std::string interrupted_text(const Canvas& canvas, const Tokenizer& tokenizer) {
  const auto masked = canvas.masked();
  std::string text;
  size_t decoded = 0;  // bytes up to `begin`: a piece alone could lose the space it begins with
  for (int32_t begin = 0, end = 0; begin < canvas.size(); begin = end) {
    while (end < canvas.size() && masked[end] == masked[begin]) ++end;
    const std::string before = tokenizer.decode(canvas.tokens().first(end));
    text +=
        masked[begin] ? std::string(static_cast<size_t>(end - begin), '_') : before.substr(decoded);
    decoded = before.size();
  }
  return text;
}

// After an interruption the whole canvas, with mask tokens where nothing was committed.
std::span<const int32_t> tokens_of(const Generation& g) {
  return g.cancelled ? g.canvas.tokens() : std::span<const int32_t>(g.tokens);
}
std::string text_of(const Generation& g, const Tokenizer& tokenizer, const StopStrings& stops) {
  return g.cancelled ? interrupted_text(g.canvas, tokenizer) : whole_text(g, tokenizer, stops);
}

json to_json(const Generation& g, const Tokenizer* tokenizer, const StopStrings& stops) {
  const int32_t prompt = g.canvas.prompt_length();
  json out = {{"tokens", tokens_of(g)},
              {"prompt_tokens", prompt},
              {"ended", g.ended},
              {"cancelled", g.cancelled},
              {"forwards", g.forwards},
              {"prefill_forwards", g.prefill_forwards},
              {"commit_forwards", g.commit_forwards},
              {"committed", g.committed},
              {"edited", g.edited},
              {"tokens_per_forward", g.tokens_per_forward()},
              {"unique_experts", g.unique_experts}};
  if (tokenizer) {
    const std::string text = text_of(g, *tokenizer, stops);
    out["text"] = text;
    const std::string given = tokenizer->decode(g.canvas.tokens().first(prompt));
    out["completion"] = text.substr(std::min(text.size(), given.size()));
  }
  return out;
}

void print(const std::vector<Generation>& generations, const Tokenizer* tokenizer,
           const StopStrings& stops) {
  for (const Generation& g : generations) {
    if (tokenizer) {
      fmt::print("{}\n", text_of(g, *tokenizer, stops));
    } else {
      fmt::print("{}\n", fmt::join(tokens_of(g), ","));
    }
  }
  std::fflush(stdout);
}

void warn_of_another_end(const Tokenizer& tokenizer, const ModelConfig& config,
                         const std::string& checkpoint) {
  const auto end = tokenizer.end_token();
  if (!end || config.ends(*end)) return;
  log_warning(
      "{}: the tokenizer's end token is {}, the model's {}: texts go on behind the former; "
      "\"eos_token_id\" in config.json may name both",
      checkpoint, *end, config.end_token);
}

using Show = std::function<void(const std::vector<Generation>&)>;

// Some at a time, since each has keys and values; those that are done are shown. The first of all
// is watched.
Result<std::vector<Generation>> generate_samples(Model& model, const Canvas& canvas,
                                                 const GenerateArguments& a,
                                                 const Tokenizer* tokenizer,
                                                 GenerateOptions options, const Show& show,
                                                 GenerateReport& report) {
  constexpr int64_t kTogether = 32;
  std::optional<Watch> watch;
  if (a.watch) {
    watch.emplace(tokenizer, standard_error_terminal());
    options.on_step = [&](const DenoisingEvent& event) {
      if (event.request == 0) watch->show(event);
    };
  }
  Tape tape;
  std::vector<Generation> generations;
  for (int64_t first = 0; first < a.samples; first += kTogether) {
    std::vector<GenerateRequest> requests;
    for (int64_t i = first; i < std::min<int64_t>(first + kTogether, a.samples); ++i) {
      requests.push_back({canvas, a.decoding.seed + static_cast<uint64_t>(i)});
    }
    GenerateReport of_these;
    UNMASK_TRY(auto these, unmask::generate(model, requests, options, tape, &of_these));
    report.add(of_these);
    options.on_step = nullptr;
    watch.reset();
    show(these);
    std::ranges::move(these, std::back_inserter(generations));
    if (*options.cancel) break;
  }
  return generations;
}

Status generate(const GenerateArguments& a) {
  if (a.samples < 1) return usage_error("--samples {}: expected at least 1", a.samples);
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(a.checkpoint));
  UNMASK_TRY(Model model, a.decoding.load(checkpoint));
  std::unique_ptr<Tokenizer> tokenizer;
  if (!a.tokens) {
    UNMASK_TRY(tokenizer, load_tokenizer(checkpoint, model.config()));
    if (!a.ignore_end) warn_of_another_end(*tokenizer, model.config(), checkpoint);
  }
  UNMASK_TRY(const Canvas canvas, make_canvas(a, tokenizer.get(), model.config()));
  if (!a.decoding.stop.empty() && !canvas.is_continuation()) {
    return usage_error("--stop: gaps inside a text are filled in whole; leave it out");
  }
  TextEnds ends;
  UNMASK_TRY(ends.strings, StopStrings::create(a.decoding.stop));
  UNMASK_TRY(GenerateOptions options, a.decoding.complete(tokenizer.get(), ends));
  options.stop_at_end = !a.ignore_end;
  const std::atomic<bool>& interrupted = cancel_on_interrupt();
  options.cancel = &interrupted;
  GenerateReport report;
  const auto show = [&](const std::vector<Generation>& done) {
    if (!a.json) print(done, tokenizer.get(), ends.strings);
  };
  UNMASK_TRY(const auto generations,
             generate_samples(model, canvas, a, tokenizer.get(), std::move(options), show, report));

  if (a.json) {
    json out = {{"generations", json::array()},
                {"report", report_json(report, generations, model.config())}};
    for (const Generation& g : generations) {
      out["generations"].push_back(to_json(g, tokenizer.get(), ends.strings));
    }
    // Sampled bytes need not be UTF-8.
    fmt::print("{}\n", to_text(out));
  } else if (!a.quiet) {
    write_note(report_text(report, generations, model.config()));
  }
  if (interrupted) {
    log_info("interrupted: this is what was committed");
    end_by_interrupt();
  }
  return {};
}

}  // namespace

void add_generate(CLI::App& program, Run& run) {
  const auto a = std::make_shared<GenerateArguments>();
  CLI::App* command = program.add_subcommand("generate", "Write text by unmasking it");
  command
      ->add_option("CHECKPOINT", a->checkpoint,
                   "Checkpoint directory, or a training run (its best)")
      ->required();

  CLI::Option_group* input = command->add_option_group("input", "What to begin with (one)");
  input->add_option("--prompt", a->prompt, "Text to continue");
  input->add_option("--prompt-file", a->prompt_file, "A file with the text to continue");
  input->add_option("--tokens", a->tokens, "Token ids to continue; ids are printed");
  input->add_option("--infill", a->infill, "Text with gaps: \"It was a [MASK:8] night\"");
  input->require_option(0, 1);

  command->add_option("--length", a->length, "Tokens to generate (64)");
  command->add_option("--samples", a->samples, "Texts to generate, with seeds one after the other")
      ->capture_default_str();
  command->add_flag("--ignore-end", a->ignore_end, "Go on behind an end token");
  command->add_flag("--watch", a->watch, "Show the (first) text while it is unmasked");
  command->add_flag("--quiet", a->quiet, "Do not report what it took");
  command->add_flag("--json", a->json, "Tokens, texts and figures as JSON");
  a->decoding.add_to(*command);
  command->callback([&run, a] { run = [a] { return generate(*a); }; });
}

}  // namespace unmask::cli
