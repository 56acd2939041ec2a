#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "unmask/base/log.h"
#include "unmask/checkpoint/checkpoint_source.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_file.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/model_output.h"
#include "unmask/cli/validators.h"
#include "unmask/text/tokenizer_files.h"

namespace unmask::cli {
namespace {

struct ConvertArguments {
  std::string in;
  std::string out;
  WeightFormat format = WeightFormat::int8;
  std::optional<int32_t> group;
};

Status convert(const ConvertArguments& arguments) {
  UNMASK_TRY(const std::string in, find_checkpoint(arguments.in));
  if (is_packed(in)) {
    return usage_error(
        "{}: is a packed model: rounding it a second time would lose more than once; convert the "
        "checkpoint it was made from",
        in);
  }
  if (!vocabulary_in(in)) {
    UNMASK_TRY_STATUS(check_no_tokenizer_is_lost(arguments.out));
    log_warning(
        "{}: no tokenizer.json, tokenizer.model or vocab.json: the packed model will know no text",
        in);
  }
  UNMASK_TRY(const ModelConfig config, load_model_config(in));
  UNMASK_TRY(const CheckpointSource source, CheckpointSource::open(in, config));
  UNMASK_TRY(auto staged, stage_model(arguments.out));
  UNMASK_TRY_STATUS(write_packed(staged, source, arguments.format, arguments.group, "convert"));
  UNMASK_TRY_STATUS(copy_tokenizer_files(in, staged.path()));
  UNMASK_TRY_STATUS(staged.commit());
  print_written(arguments.out, config);
  return {};
}

}  // namespace

void add_convert(CLI::App& program, Run& run) {
  const auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = program.add_subcommand("convert", "Pack a checkpoint's weights for decoding");
  command->add_option("IN", arguments->in, "Checkpoint directory or training run")->required();
  command->add_option("OUT", arguments->out, "Directory of the packed model")->required();
  command
      ->add_option("--format", arguments->format,
                   "bf16, int8, or int4 (experts int4, the rest int8)")
      ->transform(one_of(weight_formats()))
      ->default_str("int8");
  add_group_option(*command, arguments->group);
  command->callback(
      [&run, arguments] { run = [arguments] { return end_if_interrupted(convert(*arguments)); }; });
}

}  // namespace unmask::cli
