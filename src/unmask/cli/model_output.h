#pragma once

#include <map>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/base/staged_directory.h"
#include "unmask/checkpoint/parameter_source.h"
#include "unmask/kernels/quantized_matrix.h"

namespace CLI {
class App;
}

namespace unmask::cli {

// "bf16", "int8", "int4"
std::map<std::string, WeightFormat> weight_formats();

// --group: weights of an expert that share a scale.
void add_group_option(CLI::App& command, std::optional<int32_t>& group);

// A directory to write a model to, staged. One that exists is only replaced when it is empty or
// holds nothing but a packed model, which can be made again.
Result<StagedDirectory> stage_model(const std::string& path);

// Refuses to replace a model that has a tokenizer by one that has none.
Status check_no_tokenizer_is_lost(const std::string& path);

// Writes a packed model into a staged directory, with progress on standard error.
Status write_packed(const StagedDirectory& staged, const ParameterSource& source,
                    WeightFormat format, std::optional<int32_t> group, const std::string& title);

// Progress in megabytes, of which there will be about so many; the first Ctrl-C or SIGTERM ends the
// writing.
ReportBytes progress_in_megabytes(const std::string& title, int64_t bytes);

// Ends the program as Ctrl-C does, where one has ended the writing; else the status. Call it when
// the staged directory is gone.
Status end_if_interrupted(const Status& status);

// What was written, on standard output.
void print_written(const std::string& path, const ModelConfig& config);

}  // namespace unmask::cli
