#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/base/log.h"
#include "unmask/checkpoint/loaded_model.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/decoding_flags.h"
#include "unmask/cli/interrupt.h"
#include "unmask/cli/text_stream.h"
#include "unmask/diffusion/generate.h"
#include "unmask/diffusion/generation_report.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/evaluate/written_text.h"
#include "unmask/text/chat_template.h"
#include "unmask/text/stop_strings.h"
#include "unmask/text/utf8.h"

namespace unmask::cli {
namespace {

struct ChatArguments {
  std::string checkpoint;
  std::optional<std::string> system, message;
  int32_t length = 512;
  bool json = false;
  bool report = false;
  bool names_sampler = false;
  DecodingFlags decoding;
};

struct Answer {
  std::string text;
  Generation generation;
  GenerateReport report;
};

// A conversation with a model: what was said so far is the prompt of the next answer.
class Chat {
 public:
  Chat(Model& model, const Tokenizer& tokenizer, const StopStrings& stops, GenerateOptions options,
       const ChatArguments& arguments)
      : model_(model),
        tokenizer_(tokenizer),
        stops_(stops),
        options_(std::move(options)),
        arguments_(arguments) {
    if (!ChatTemplate::knows(tokenizer)) {
      log_warning("{}: a chat template that is not known: expected that of LLaDA2 or ChatML",
                  arguments.checkpoint);
    }
    reset();
  }

  void reset() {
    conversation_.clear();
    if (arguments_.system) conversation_.push_back({"system", *arguments_.system});
  }

  // `stream` null: silently. A message that cannot be answered is forgotten.
  Result<Answer> ask(const std::string& message, TextStream* stream) {
    if (const auto alone = tokenizer_.encode(message); !alone.ok()) {
      return usage_error("the message: {}", alone.error().message);
    }
    conversation_.push_back({"user", message});
    Result<Answer> answer = complete(stream);
    if (answer.ok()) {
      // The end of an answer may have cut a character in two.
      const bool whole = tokenizer_.encode(answer->text).ok();
      conversation_.push_back({"assistant", whole ? answer->text : to_valid_utf8(answer->text)});
    } else {
      conversation_.pop_back();
    }
    return answer;
  }

 private:
  Result<Answer> complete(TextStream* stream) {
    const ModelConfig& config = model_.config();
    UNMASK_TRY(const std::string text, ChatTemplate::of(tokenizer_).prompt(conversation_));
    UNMASK_TRY(const auto prompt, tokenizer_.encode(text));
    const int64_t room = config.max_positions - std::ssize(prompt);
    if (room < 1) {
      return usage_error(
          "the conversation has {} tokens, the model's context {}: shorten the message, or begin "
          "anew",
          prompt.size(), config.max_positions);
    }
    const auto length = static_cast<int32_t>(std::min<int64_t>(arguments_.length, room));
    const GenerateRequest request{Canvas::continuation(prompt, length, config.mask_token),
                                  arguments_.decoding.seed + turn_++};
    GenerateOptions options = options_;
    // What a sampler may still edit is not shown before the answer is whole.
    UNMASK_TRY(const auto sampler, make_sampler(options.sampler));
    if (stream != nullptr && !sampler->edits()) {
      options.on_step = [&](const DenoisingEvent& event) { stream->show(so_far(event.canvas)); };
    }
    Answer answer;
    UNMASK_TRY(auto generations,
               unmask::generate(model_, std::span(&request, 1), options, tape_, &answer.report));
    answer.generation = std::move(generations.front());
    answer.text = written_text(answer.generation, tokenizer_, stops_);
    if (stream != nullptr) stream->finish(answer.text);
    return answer;
  }

  // The text up to the first masked position, end token or stop string.
  std::string so_far(const Canvas& canvas) const {
    const auto written = canvas.written();
    const auto stop = std::ranges::find_if(
        written, [&](int32_t token) { return is_end(token, options_, model_.config()); });
    return stops_.text_before({written.begin(), stop}, tokenizer_);
  }

  Model& model_;
  const Tokenizer& tokenizer_;
  const StopStrings& stops_;
  GenerateOptions options_;
  const ChatArguments& arguments_;
  Tape tape_;
  Conversation conversation_;
  uint64_t turn_ = 0;
};

void print_json(const Answer& answer, const ModelConfig& config) {
  const Generation& g = answer.generation;
  const nlohmann::json out = {{"message", answer.text},
                              {"ended", g.ended},
                              {"cancelled", g.cancelled},
                              {"prompt_tokens", g.canvas.prompt_length()},
                              {"report", report_json(answer.report, std::span(&g, 1), config)}};
  fmt::print("{}\n", to_text(out));
}

Status answer_one(Chat& chat, const ChatArguments& a, const std::string& message,
                  const StopStrings& stops, const ModelConfig& config) {
  TextStream stream(stops.held_back());
  UNMASK_TRY(const Answer answer, chat.ask(message, a.json ? nullptr : &stream));
  if (a.json) {
    print_json(answer, config);
  } else {
    fmt::print("\n");
  }
  std::fflush(stdout);
  if (a.report && !a.json) {
    write_note(report_text(answer.report, std::span(&answer.generation, 1), config));
  }
  return {};
}

// Returns when there is something to read, or at an interrupt.
void wait_for_line(const std::atomic<bool>& interrupted) {
  if (std::cin.rdbuf()->in_avail() > 0) return;
  pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  constexpr int kMilliseconds = 200;  // an interrupt just before would otherwise be waited through
  while (!interrupted && ::poll(&input, 1, kMilliseconds) == 0) {
  }
}

// One message a line until the input ends. What goes wrong with one of them is said, and the
// conversation goes on.
Status converse(Chat& chat, const ChatArguments& a, const StopStrings& stops,
                const ModelConfig& config, const std::atomic<bool>& interrupted) {
  const bool prompts = ::isatty(STDIN_FILENO) && ::isatty(STDERR_FILENO);
  if (prompts) print_note("One message a line; /reset begins anew, Ctrl-D ends.\n");
  std::ios::sync_with_stdio(false);  // so that std::cin knows what it has read already
  std::string line;
  int64_t unanswered = 0;
  while (!interrupted) {
    if (prompts) print_note("> ");
    wait_for_line(interrupted);
    if (interrupted) break;
    if (!std::getline(std::cin, line)) break;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    if (line == "/reset") {
      chat.reset();
      continue;
    }
    if (const Status status = answer_one(chat, a, line, stops, config); !status) {
      log_info("{}", status.error().message);
      ++unanswered;
    }
  }
  if (unanswered == 0 || prompts) return {};
  return failure("messages that were not answered: {}", unanswered);
}

Status chat(const ChatArguments& a) {
  if (a.length < 1) return usage_error("--length {}: expected at least 1", a.length);
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(a.checkpoint));
  UNMASK_TRY(Model model, a.decoding.load(checkpoint));
  UNMASK_TRY(const auto tokenizer, load_tokenizer(checkpoint, model.config()));
  UNMASK_TRY(const TextEnds ends, TextEnds::of_answers(*tokenizer, a.decoding.stop));
  UNMASK_TRY(GenerateOptions options, a.decoding.complete(tokenizer.get(), ends));
  if (!a.names_sampler && model.config().edits_blocks()) options.sampler.policy = "levenshtein";
  const std::atomic<bool>& interrupted = cancel_on_interrupt();
  options.cancel = &interrupted;

  Chat chat(model, *tokenizer, ends.strings, std::move(options), a);
  const Status status = a.message ? answer_one(chat, a, *a.message, ends.strings, model.config())
                                  : converse(chat, a, ends.strings, model.config(), interrupted);
  if (interrupted) {
    log_info("interrupted");
    end_by_interrupt();
  }
  return status;
}

}  // namespace

void add_chat(CLI::App& program, Run& run) {
  const auto a = std::make_shared<ChatArguments>();
  a->decoding.options.sampler.policy = "threshold";
  CLI::App* command = program.add_subcommand("chat", "Talk to a model, one message a line");
  command
      ->add_option("CHECKPOINT", a->checkpoint,
                   "Checkpoint directory, or a training run (its best)")
      ->required();
  command->add_option("--message", a->message, "Answer this message only");
  command->add_option("--system", a->system, "What the model is told first");
  command->add_option("--length", a->length, "The most tokens of an answer")->capture_default_str();
  command->add_flag("--report", a->report, "Say what each answer took");
  command->add_flag("--json", a->json, "Answers and figures as JSON, one a line");
  a->decoding.add_to(*command);
  command->callback([&run, a, command] {
    a->names_sampler = command->count("--sampler") > 0;
    run = [a] { return chat(*a); };
  });
}

}  // namespace unmask::cli
