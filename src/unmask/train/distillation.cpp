#include "unmask/train/distillation.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "unmask/base/log.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/text/documents.h"
#include "unmask/train/run_record.h"
#include "unmask/train/targets.h"
#include "unmask/train/trainer.h"

namespace unmask {
namespace {

Result<std::vector<Conversation>> prompts_of(const DistillConfig& config) {
  std::vector<Conversation> prompts;
  for (const std::string& path : config.prompts) {
    UNMASK_TRY(auto more, read_prompts(path));
    std::ranges::move(more, std::back_inserter(prompts));
  }
  if (prompts.empty()) {
    return usage_error("distill.prompts: expected files with at least one prompt, found none");
  }
  if (config.count > 0 && config.count < std::ssize(prompts)) prompts.resize(config.count);
  return prompts;
}

// As the checkpoint has it, with its own routing and attention.
Result<Model> load_teacher(const TrainConfig& student, const ModelConfig& config) {
  UNMASK_TRY(Model model, Model::create(config, {.precision = student.options.precision}));
  UNMASK_TRY_STATUS(load_parameters(student.from, config, model.parameters()));
  return model;
}

}  // namespace

Status distill(DistillRequest request, const std::atomic<bool>& stop) {
  TrainConfig& train_config = request.config.train;
  TargetOptions options = request.config.targets;
  options.show_progress = request.show_progress;
  const std::string path = request.run_directory + "/targets.jsonl";

  // What is wrong is found before anything is written.
  UNMASK_TRY_STATUS(check_record(request.run_directory, request.document, request.resume));
  UNMASK_TRY(const auto tokenizer,
             Tokenizer::load(train_config.data.tokenizer, train_config.data.special));
  UNMASK_TRY_STATUS(adopt_tokenizer(*tokenizer, train_config));
  UNMASK_TRY(const ModelConfig teacher_config, load_model_config(train_config.from));
  UNMASK_TRY_STATUS(check_options(options.generate, teacher_config));
  UNMASK_TRY(const auto prompts, prompts_of(request.config));
  UNMASK_TRY_STATUS(encode_prompts(prompts, *tokenizer, train_config.data.sequence_length));

  UNMASK_TRY(auto lock, lock_run(request.run_directory));
  UNMASK_TRY_STATUS(check_record(request.run_directory, request.document, request.resume));
  UNMASK_TRY(std::optional<TargetCounts> counts, finished_targets(path, prompts));
  if (!counts) {
    UNMASK_TRY(Model teacher, load_teacher(train_config, teacher_config));
    UNMASK_TRY_STATUS(write_record(request.run_directory, request.document));
    UNMASK_TRY(counts, write_targets(teacher, *tokenizer, prompts, options, path, stop));
  }
  log_info(
      "targets: {} of {} prompts answered, {} answers kept, {} without an end and {} unsure ones "
      "removed",
      counts->prompts, prompts.size(), counts->kept, counts->unfinished, counts->unsure());
  if (counts->prompts < std::ssize(prompts)) {
    log_info("stopped; go on with --resume");
    return {};
  }
  if (counts->kept == 0) {
    return failure(
        "{}: {} answers did not end within distill.length = {} tokens, {} were written at less "
        "than distill.least_confidence = {}, and nothing is left to train on; in a new run raise "
        "distill.length or lower distill.least_confidence, or train {} longer",
        path, counts->unfinished, options.length, counts->unsure(), options.least_confidence,
        train_config.from);
  }
  train_config.data.paths = {path};
  return train({.config = std::move(train_config),
                .document = std::move(request.document),
                .run_directory = std::move(request.run_directory),
                .resume = true,
                .show_progress = request.show_progress},
               stop, std::move(lock));
}

}  // namespace unmask
