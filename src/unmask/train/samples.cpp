#include "unmask/train/samples.h"

#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/log.h"
#include "unmask/diffusion/generate.h"

namespace unmask {
namespace {

std::string samples_path(const std::string& run_directory) {
  return run_directory + "/samples.jsonl";
}

}  // namespace

Result<bool> append_sample(const std::string& run_directory, int64_t step, Learner& learner,
                           const Tokenizer& tokenizer, const TrainConfig& config,
                           const std::atomic<bool>& stop) {
  const ModelConfig& model = learner.model().config();
  const int32_t length = std::min(config.evaluation.sample_length, model.max_positions);
  const GenerateRequest request = {.canvas = Canvas::continuation({}, length, model.mask_token),
                                   .seed = config.seed};
  GenerateOptions options = {.steps = length, .temperature = 0.8f, .stop_at_end = false};
  options.cancel = &stop;
  UNMASK_TRY(const auto generations,
             generate(learner.model(), std::span(&request, 1), options, learner.tape()));
  if (generations[0].cancelled) return false;
  const nlohmann::json sample = {
      {"step", step}, {"prompt", ""}, {"text", tokenizer.decode(generations[0].tokens)}};
  std::ofstream file(samples_path(run_directory), std::ios::app);
  // Half characters of an early byte model are no UTF-8.
  file << to_text(sample) << '\n';
  if (!file) log_warning("{}: cannot write the sample", samples_path(run_directory));
  return true;
}

void drop_samples_after(const std::string& run_directory, int64_t step) {
  const std::string path = samples_path(run_directory);
  std::ifstream file(path);
  if (!file) return;
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const auto sample = json_in(line);
    const bool has_step =
        sample.is_object() && sample.contains("step") && sample["step"].is_number();
    if (has_step && sample["step"].get<double>() <= static_cast<double>(step)) kept += line + '\n';
  }
  if (auto status = write_file_atomically(path, kept); !status) {
    log_warning("{}", status.error().message);
  }
}

}  // namespace unmask
