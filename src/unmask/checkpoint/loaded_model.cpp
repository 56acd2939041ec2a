#include "unmask/checkpoint/loaded_model.h"

#include <memory>
#include <utility>

#include "unmask/checkpoint/checkpoint_source.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_file.h"

namespace unmask {
namespace {

Result<Model> load_packed(const std::string& directory, const LoadOptions& options) {
  UNMASK_TRY(auto opened, ModelFile::open(directory));
  const auto file = std::make_shared<ModelFile>(std::move(opened));
  ModelConfig config = file->config();
  if (options.adjust) UNMASK_TRY_STATUS(options.adjust(config));
  if (options.expert_memory) {
    UNMASK_TRY_STATUS(file->limit_expert_memory(*options.expert_memory));
  }
  UNMASK_TRY_STATUS(file->load());
  return Model::from_weights(config, {.precision = options.precision.value_or(kPackedPrecision)},
                             file->weights(), file);
}

}  // namespace

Result<Model> load_model(const std::string& directory, const LoadOptions& options) {
  if (is_packed(directory)) return load_packed(directory, options);
  if (options.expert_memory) {
    return usage_error(
        "--expert-memory: {} is not packed, and all of it is loaded; expected a model written by "
        "unmask convert",
        directory);
  }
  UNMASK_TRY(ModelConfig config, load_model_config(directory));
  if (options.adjust) UNMASK_TRY_STATUS(options.adjust(config));
  UNMASK_TRY(const CheckpointSource source, CheckpointSource::open(directory, config));
  UNMASK_TRY(Model model,
             Model::create(config, {.precision = options.precision.value_or(Precision::f32)}));
  UNMASK_TRY_STATUS(load_parameters(source, model.parameters()));
  return model;
}

}  // namespace unmask
