#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/loaded_model.h"
#include "unmask/evaluate/loss.h"
#include "unmask/text/corpus.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

constexpr int32_t kShownBins = 4;

struct Arguments {
  std::string checkpoint;
  std::vector<std::string> data;
  int32_t length = 0;
  int64_t sequences = 256;
  std::string precision = "f32";
  bool json = false;
  EvaluateOptions options;
};

json to_json(const MeanLoss& loss) {
  return {{"loss", loss.count ? json(loss.mean()) : json(nullptr)}, {"count", loss.count}};
}

json to_json(const RoutingSummary& layer) {
  return {{"layer", layer.layer},
          {"tokens", layer.tokens},
          {"load", layer.load},
          {"max_over_mean_load", layer.max_over_mean_load()},
          {"experts_per_token", layer.experts_per_token},
          {"experts_per_token_min", layer.experts_per_token_min},
          {"experts_per_token_max", layer.experts_per_token_max},
          {"share_without_expert", layer.share_without_expert},
          {"share_dropped", layer.share_dropped},
          {"unique_experts_per_block", layer.unique_experts_per_block},
          {"router_entropy", layer.router_entropy}};
}

json to_json(const Evaluation& evaluation) {
  const ValidationLoss& loss = evaluation.stratified;
  json out = {{"loss", loss.loss()},
              {"perplexity", loss.perplexity()},
              {"sequences", evaluation.sequences},
              {"masked_tokens", loss.masked_tokens},
              {"seconds", evaluation.seconds},
              {"bins", json::array()},
              {"quarters", json::array()},
              {"routing", json::array()}};
  for (const MeanLoss& bin : loss.bins) out["bins"].push_back(to_json(bin));
  for (const MeanLoss& bin : loss.coarse_bins(kShownBins)) out["quarters"].push_back(to_json(bin));
  for (const RoutingSummary& layer : loss.routing) out["routing"].push_back(to_json(layer));
  if (evaluation.levels) {
    json levels = json::array();
    for (size_t i = 0; i < evaluation.levels->levels.size(); ++i) {
      json level = to_json(evaluation.levels->level_loss[i]);
      level["mask_probability"] = evaluation.levels->levels[i];
      levels.push_back(std::move(level));
    }
    out["levels"] = std::move(levels);
    out["levels_loss"] = evaluation.levels->loss();
  }
  return out;
}

void print(const Evaluation& evaluation) {
  const ValidationLoss& loss = evaluation.stratified;
  fmt::print("loss {:.4f} nats per token, perplexity {:.3f}\n", loss.loss(), loss.perplexity());
  fmt::print("{} sequences, {} predictions, {:.1f} s\n", evaluation.sequences, loss.masked_tokens,
             evaluation.seconds);
  const auto quarters = loss.coarse_bins(kShownBins);
  for (int32_t i = 0; i < kShownBins; ++i) {
    fmt::print("  mask ratio {:.2f} to {:.2f}  {:.4f}\n", static_cast<double>(i) / kShownBins,
               static_cast<double>(i + 1) / kShownBins, quarters[i].mean());
  }
  for (const RoutingSummary& layer : loss.routing) {
    fmt::print("  layer {:2d}  {:.2f} experts per token ({:.0f} to {:.0f}), max/mean load {:.2f}\n",
               layer.layer, layer.experts_per_token, layer.experts_per_token_min,
               layer.experts_per_token_max, layer.max_over_mean_load());
  }
  if (!evaluation.levels) return;
  fmt::print("at fixed mask probabilities: mean {:.4f}\n", evaluation.levels->loss());
  for (size_t i = 0; i < evaluation.levels->levels.size(); ++i) {
    fmt::print("  {:.2f}  {:.4f}\n", evaluation.levels->levels[i],
               evaluation.levels->level_loss[i].mean());
  }
}

Status evaluate(const Arguments& arguments) {
  if (arguments.length < 0 || arguments.sequences < 0) {
    return usage_error("--length {} --sequences {}: expected 0 or more", arguments.length,
                       arguments.sequences);
  }
  UNMASK_TRY(const Precision precision, parse_precision(arguments.precision));
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(arguments.checkpoint));
  UNMASK_TRY(Model model, load_model(checkpoint, precision));
  UNMASK_TRY(const auto tokenizer, load_tokenizer(checkpoint, model.config()));
  constexpr int32_t kDefaultLength = 256;
  const int32_t length =
      arguments.length ? arguments.length : std::min(kDefaultLength, model.config().max_positions);
  UNMASK_TRY(const auto source, open_corpus(arguments.data, *tokenizer, length));
  UNMASK_TRY(const SequenceBatch data, read_evaluation_data(*source, arguments.sequences));
  Tape tape;
  UNMASK_TRY(const Evaluation evaluation,
             evaluate_loss(model, clean_batch(data), arguments.options, tape));
  if (arguments.json) {
    fmt::print("{}\n", to_json(evaluation).dump());
  } else {
    print(evaluation);
  }
  return {};
}

}  // namespace

void add_evaluate(CLI::App& program, Run& run) {
  const auto a = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("evaluate", "Loss, perplexity and loss per mask ratio on a text");
  command
      ->add_option("CHECKPOINT", a->checkpoint,
                   "Checkpoint directory, or a training run (its best)")
      ->required();
  command->add_option("--data", a->data, "Text files, JSON lines, token datasets or directories")
      ->required();
  command->add_option("--length", a->length, "Tokens in a sequence (0: 256, or the model's most)")
      ->capture_default_str();
  command->add_option("--sequences", a->sequences, "At most, evenly spaced over the data; 0: all")
      ->capture_default_str();
  command->add_option("--draws", a->options.draws, "Mask ratios tried on each sequence")
      ->capture_default_str();
  command
      ->add_option("--levels", a->options.levels,
                   "Besides, fixed mask probabilities, e.g. 0.1,0.3,0.5,0.7,0.9")
      ->delimiter(',');
  command->add_option("--batch", a->options.batch_sequences, "Sequences in a forward pass")
      ->capture_default_str();
  command->add_option("--seed", a->options.seed, "Of the noise")->capture_default_str();
  command->add_option("--precision", a->precision, "f32 or bf16")->capture_default_str();
  command->add_flag("--json", a->json, "All figures as JSON");
  command->callback([&run, a] { run = [a] { return evaluate(*a); }; });
}

}  // namespace unmask::cli
