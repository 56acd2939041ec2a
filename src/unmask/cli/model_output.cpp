#include "unmask/cli/model_output.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/files.h"
#include "unmask/base/log.h"
#include "unmask/base/progress.h"
#include "unmask/base/readable.h"
#include "unmask/checkpoint/model_file.h"
#include "unmask/checkpoint/model_file_writer.h"
#include "unmask/cli/interrupt.h"
#include "unmask/text/tokenizer_files.h"

namespace unmask::cli {
namespace {

namespace fs = std::filesystem;

bool may_be_replaced(const std::string& name) {
  return name == kPackedWeights || name == "config.json" ||
         std::find(std::begin(kTokenizerFiles), std::end(kTokenizerFiles), name) !=
             std::end(kTokenizerFiles);
}

Status check_replaceable(const std::string& place, const std::string& name) {
  std::error_code code;
  if (!fs::is_directory(place, code)) return failure("{}: exists and is no directory", name);
  if (fs::is_empty(place, code)) return {};
  if (!is_packed(place)) {
    return failure("{}: exists and holds something else than a packed model: choose another name",
                   name);
  }
  for (const auto& entry : fs::directory_iterator(place, code)) {
    const std::string file = entry.path().filename().string();
    if (!may_be_replaced(file)) {
      return failure("{}: holds {} beside a packed model, which would be lost: choose another name",
                     name, file);
    }
  }
  return {};
}

}  // namespace

std::map<std::string, WeightFormat> weight_formats() {
  std::map<std::string, WeightFormat> all;
  for (const WeightFormat format : kWeightFormats) all.emplace(name_of(format), format);
  return all;
}

void add_group_option(CLI::App& command, std::optional<int32_t>& group) {
  command.add_option("--group", group,
                     "Packed weights of an expert that share a scale, a multiple of 32 "
                     "(int8: 128, int4: 64)");
}

Result<StagedDirectory> stage_model(const std::string& path) {
  return StagedDirectory::create(path, check_replaceable);
}

Status check_no_tokenizer_is_lost(const std::string& path) {
  if (!vocabulary_in(path)) return {};
  return usage_error(
      "{}: its tokenizer would be lost, since the new model comes with none; choose another name",
      path);
}

ReportBytes progress_in_megabytes(const std::string& title, int64_t bytes) {
  constexpr int64_t kMegabyte = 1'000'000;
  const int64_t total = (bytes + kMegabyte - 1) / kMegabyte;
  const auto progress = std::make_shared<Progress>(title + ", MB", total);
  return [progress, bytes, &stop = stop_on_signal()](int64_t done) -> Status {
    if (stop) return failure("interrupted: nothing was written");
    const bool last = done >= bytes;
    progress->update({.step = (done + (last ? kMegabyte - 1 : 0)) / kMegabyte});
    if (last) progress->finish();
    return {};
  };
}

Status end_if_interrupted(const Status& status) {
  if (!status && was_interrupted()) {
    log_info("{}", status.error().message);
    end_by_interrupt();
  }
  return status;
}

Status write_packed(const StagedDirectory& staged, const ParameterSource& source,
                    WeightFormat format, std::optional<int32_t> group, const std::string& title) {
  UNMASK_TRY(const PackedFormat packed, packed_format(format, group));
  int64_t bytes = 0;
  for (const PackedTensor& tensor : packed_tensors(source.config(), source.layout(), packed)) {
    bytes += tensor.spec.bytes();
  }
  return write_model_file(staged.path(), source, packed, progress_in_megabytes(title, bytes));
}

void print_written(const std::string& path, const ModelConfig& config) {
  const int64_t parameters = ParameterLayout(config).parameters();
  int64_t bytes = 0;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(path, code)) {
    const auto size = entry.file_size(code);
    if (!code) bytes += static_cast<int64_t>(size);
  }
  fmt::print("{}: {} parameters in {}\n", path, readable_count(static_cast<double>(parameters)),
             readable_bytes(bytes));
}

}  // namespace unmask::cli
