#include <algorithm>
#include <optional>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/checkpoint/model_file.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/evaluate_flags.h"
#include "unmask/evaluate/logit_difference.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/text/corpus.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

constexpr int32_t kShownBins = 4;

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
    const bool measured = quarters[i].count > 0;
    fmt::print("  mask ratio {:.2f} to {:.2f}  {}\n", static_cast<double>(i) / kShownBins,
               static_cast<double>(i + 1) / kShownBins,
               measured ? fmt::format("{:.4f}", quarters[i].mean()) : "-");
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

json to_json(const LogitDifference& difference) {
  return {{"rows", difference.rows},
          {"reference_rms", difference.reference_rms},
          {"rms", difference.rms},
          {"largest", difference.largest},
          {"same_argmax", difference.same_argmax}};
}

void print(const LogitDifference& d) {
  fmt::print(
      "logits against the reference: off by {:.4f} (root mean square, {:.2f} % of theirs), {:.4f} "
      "at most; {:.2f} % of {} rows have the same most probable token\n",
      d.rms, 100 * d.relative(), d.largest, 100 * d.same_argmax, d.rows);
}

Result<std::optional<LogitDifference>> difference_to(const std::string& against,
                                                     const DecodingFlags& decoding, Model& model,
                                                     const CleanBatch& sequences) {
  if (against.empty()) return std::optional<LogitDifference>();
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(against));
  DecodingFlags flags = decoding;
  if (!is_packed(checkpoint)) flags.expert_memory.reset();
  UNMASK_TRY(Model reference, flags.load(checkpoint));
  UNMASK_TRY(const auto difference, compare_logits(model, reference, sequences, decoding.seed));
  return std::optional(difference);
}

}  // namespace

Status evaluate_text(const std::string& checkpoint, const std::vector<std::string>& data,
                     const TextFlags& text, const TaskFlags& flags, const DecodingFlags& decoding) {
  if (flags.length < 0 || text.sequences < 0) {
    return usage_error("--length {} --sequences {}: expected 0 or more", flags.length,
                       text.sequences);
  }
  UNMASK_TRY(Model model, decoding.load(checkpoint));
  UNMASK_TRY(const auto tokenizer, load_tokenizer(checkpoint, model.config()));
  constexpr int32_t kDefaultLength = 256;
  const int32_t length =
      flags.length ? flags.length : std::min(kDefaultLength, model.config().max_positions);
  UNMASK_TRY(const auto source, open_corpus(data, *tokenizer, length));
  UNMASK_TRY(const SequenceBatch sequences, read_evaluation_data(*source, text.sequences));
  EvaluateOptions options = text.options;
  options.seed = decoding.seed;
  if (flags.batch) options.batch_sequences = flags.batch;
  Tape tape;
  UNMASK_TRY(const Evaluation evaluation,
             evaluate_loss(model, clean_batch(sequences), options, tape));
  UNMASK_TRY(const auto difference,
             difference_to(text.against, decoding, model, clean_batch(sequences)));
  if (flags.json) {
    json out = to_json(evaluation);
    if (difference) out["logits"] = to_json(*difference);
    fmt::print("{}\n", to_text(out));
  } else {
    print(evaluation);
    if (difference) print(*difference);
  }
  return {};
}

}  // namespace unmask::cli
