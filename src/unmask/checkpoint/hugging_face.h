#pragma once

#include <cstdint>
#include <string>

#include "unmask/base/result.h"
#include "unmask/checkpoint/checkpoint_source.h"
#include "unmask/checkpoint/parameter_source.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"

namespace unmask {

// A checkpoint directory in the form of Hugging Face: config.json (model_config_json.h) and
// model.safetensors, or shards with model.safetensors.index.json. The names of the tensors are
// those of the configuration's family (tensor_form.h).

// Reads and checks config.json; text ends at the end tokens of generation_config.json too. Where
// weights lie beside it, a configuration of more parameters than theirs is refused, before anyone
// allocates for it; what else does not fit, CheckpointSource finds.
Result<ModelConfig> load_model_config(const std::string& directory);

// Reads every parameter straight into its place.
Status load_parameters(const CheckpointSource& source, const Parameters& parameters);
Status load_parameters(const std::string& directory, const ModelConfig& config,
                       const Parameters& parameters);

struct SaveOptions {
  int64_t shard_bytes = int64_t{5} << 30;
};

// Writes config.json and the weights, in f32, into a directory that is being staged
// (base/staged_directory.h).
Status save_model(const std::string& directory, const ParameterSource& source,
                  const SaveOptions& options = {}, const ReportBytes& report = {});
Status save_model(const std::string& directory, const ModelConfig& config,
                  const Parameters& parameters, const SaveOptions& options = {});

}  // namespace unmask
