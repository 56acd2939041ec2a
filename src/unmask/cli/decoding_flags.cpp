#include "unmask/cli/decoding_flags.h"

#include <map>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/loaded_model.h"
#include "unmask/cli/validators.h"
#include "unmask/evaluate/written_text.h"

namespace unmask::cli {
namespace {

using Cache = GenerateOptions::Cache;

const std::map<std::string, Cache> kCaches = {
    {"auto", Cache::automatic}, {"on", Cache::on},     {"off", Cache::off},
    {"prefix", Cache::prefix},  {"dual", Cache::dual}, {"vicinity", Cache::vicinity},
};
const std::map<std::string, Precision> kPrecisions = {{"f32", Precision::f32},
                                                      {"bf16", Precision::bf16}};

}  // namespace

void DecodingFlags::add_to(CLI::App& command) {
  CLI::App* const group = command.add_option_group("decoding", "How to decode");
  group->add_option("--steps", options.steps, "Denoising steps for each block")
      ->capture_default_str();
  group
      ->add_option("--block-length", options.block_length,
                   "Decode blocks of so many positions left to right; 0: all at once, or the "
                   "model's blocks")
      ->capture_default_str();
  group
      ->add_option("--sampler", options.sampler.policy,
                   fmt::format("Which positions to commit: {}", fmt::join(sampler_names(), ", ")))
      ->capture_default_str();
  for (const SamplerParameter& parameter : sampler_parameters()) {
    group->add_option(fmt::format("--{}", parameter.name), options.sampler.*parameter.value,
                      fmt::format("{} ({})", parameter.meaning, samplers_with(parameter)));
  }
  group->add_option("--temperature", options.temperature, "0: always the most probable token")
      ->capture_default_str();
  group->add_option("--top-k", options.top_k, "Draw from the k most probable tokens; 0: from all")
      ->capture_default_str();
  group
      ->add_option("--top-p", options.top_p,
                   "Draw from the fewest tokens whose probabilities reach this sum")
      ->capture_default_str();
  group
      ->add_option("--guidance", options.guidance,
                   "Classifier-free guidance: how far to go beyond what the given text changes; 0: "
                   "none. Runs every step twice")
      ->capture_default_str();
  group->add_option("--seed", seed, "Of sampling")->capture_default_str();
  group->add_option("--stop", stop, "End the text before this one; may be repeated")
      ->allow_extra_args(false);
  group
      ->add_option(
          "--cache", options.cache,
          "Keep keys and values of finished blocks: auto (where that changes nothing), "
          "on, off; with attention to the whole canvas use old ones: prefix, dual, vicinity")
      ->transform(one_of(kCaches))
      ->default_str("auto");
  group
      ->add_option("--precision", precision,
                   "f32 or bf16, by default f32; of a packed model that of its attention, by "
                   "default bf16")
      ->transform(one_of(kPrecisions));
  as_size(group->add_option(
      "--expert-memory", expert_memory,
      "Of a packed model, keep no more than so much of the experts in memory: 2GiB"));
  routing.add_to(command);
}

Result<Model> DecodingFlags::load(const std::string& checkpoint) const {
  return load_model(checkpoint,
                    {.precision = precision,
                     .adjust = [this](ModelConfig& config) { return routing.apply(config); },
                     .expert_memory = expert_memory});
}

Result<GenerateOptions> DecodingFlags::complete(const Tokenizer* tokenizer,
                                                const TextEnds& ends) const {
  GenerateOptions result = options;
  if (tokenizer != nullptr) {
    end_at(ends, *tokenizer, result);
  } else if (!ends.strings.empty()) {
    return usage_error(
        "--stop needs a tokenizer, and --tokens writes ids without one: leave one of the two out");
  }
  return result;
}

}  // namespace unmask::cli
