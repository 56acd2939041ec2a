#include "unmask/experiment/runner.h"

#include <chrono>
#include <filesystem>
#include <map>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/log.h"
#include "unmask/evaluate/tasks/registry.h"
#include "unmask/experiment/record.h"
#include "unmask/experiment/stage.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Status check_needs(const ExperimentSpec& spec) {
  for (const std::string& file : spec.needs) {
    std::error_code code;
    if (fs::exists(file, code)) continue;
    return usage_error("{}: not there; scripts/experiment {} makes it and runs the experiment",
                       file, spec.name);
  }
  return {};
}

// Writes the examples, and beside them what they are.
Status write_data(const DataSpec& data, const std::string& directory) {
  const std::string path = directory + "/" + data.name + ".jsonl";
  const std::string record = directory + "/" + data.name + ".json";
  const nlohmann::json description = {
      {"task", data.task}, {"set", data.settings}, {"count", data.count}, {"seed", data.seed}};
  std::error_code code;
  if (fs::exists(record, code)) {
    UNMASK_TRY(const nlohmann::json before, read_json_file(record));
    if (before == description) return {};
    return usage_error(
        "{}: was made of {}, expected {}; remove {} to begin anew, or give another "
        "--out",
        path, before.dump(), description.dump(), directory);
  }
  fs::create_directories(directory, code);
  if (code) return failure("{}: cannot create: {}", directory, code.message());
  log_info("{}: {} examples of {}", path, data.count, data.task);
  UNMASK_TRY(const auto task, make_task(data.task, data.settings));
  UNMASK_TRY(const auto examples, draw_examples(*task, Split::train, data.count, data.seed));
  UNMASK_TRY_STATUS(write_file_atomically(path, conversation_lines(examples)));
  return write_file_atomically(record, description.dump(1) + "\n");
}

// An experiment at work on one seed: arms in order, each from the models of those before.
class SeedRun {
 public:
  SeedRun(const ExperimentSpec& spec, const std::string& directory, uint64_t seed,
          const std::atomic<bool>& stop, RunProgress& progress)
      : spec_(spec), directory_(directory), seed_(seed), stop_(stop), progress_(progress) {}

  Status run() {
    for (const ArmSpec& arm : spec_.arms) {
      std::string model;
      for (const StageSpec& stage : arm.stages) {
        if (!stage.from.empty()) model = models_[stage.from];
        UNMASK_TRY_STATUS(advance(arm, stage, model));
        models_[fmt::format("{}/{}", arm.name, stage.name)] = model;
      }
      models_[arm.name] = model;
    }
    return {};
  }

 private:
  // Takes `model` to the checkpoint that the stage leaves.
  Status advance(const ArmSpec& arm, const StageSpec& spec, std::string& model) {
    const std::string where = fmt::format("seed {}, {}: {}", seed_, arm.name, spec.name);
    ++progress_.stages;
    if (stop_.load()) {
      progress_.remaining.push_back(where);
      return {};
    }
    const StagePlace place = {.experiment = spec_,
                              .directory = stage_directory(directory_, arm.name, seed_, spec.name),
                              .data = directory_ + "/data",
                              .model = model,
                              .seed = seed_};
    UNMASK_TRY(const auto stage, make_stage(spec, place));
    UNMASK_TRY(const bool finished, do_once(*stage, place, where));
    if (!finished) {
      progress_.remaining.push_back(where);
      return {};
    }
    ++progress_.finished;
    if (!stage->model().empty()) model = stage->model();
    return {};
  }

  Result<bool> do_once(Stage& stage, const StagePlace& place, const std::string& where) {
    UNMASK_TRY(const auto before, read_stage_record(place.directory));
    if (before) {
      if (before->description == stage.description()) return true;
      return usage_error(
          "{}: was done with another configuration than now; remove it to do it again, or give "
          "another --out",
          place.directory);
    }
    log_info("{}", where);
    const double begin = now();
    UNMASK_TRY(auto measured, stage.run(stop_));
    if (!measured) return false;
    UNMASK_TRY_STATUS(write_stage_record(place.directory, {.description = stage.description(),
                                                           .measured = std::move(*measured),
                                                           .seconds = now() - begin}));
    return true;
  }

  const ExperimentSpec& spec_;
  const std::string& directory_;
  uint64_t seed_;
  const std::atomic<bool>& stop_;
  RunProgress& progress_;
  std::map<std::string, std::string> models_;  // by arm, and by arm and stage
};

}  // namespace

std::string stage_directory(const std::string& experiment, const std::string& arm, uint64_t seed,
                            const std::string& stage) {
  return fmt::format("{}/{}/seed-{}/{}", experiment, arm, seed, stage);
}

Result<RunProgress> run_experiment(const ExperimentSpec& spec, const RunRequest& request,
                                   const std::atomic<bool>& stop) {
  UNMASK_TRY_STATUS(check_needs(spec));
  const std::string directory = request.out + "/" + spec.name;
  for (const DataSpec& data : spec.data) {
    UNMASK_TRY_STATUS(write_data(data, directory + "/data"));
  }
  RunProgress progress;
  const int32_t seeds = request.seeds > 0 ? request.seeds : spec.seeds;
  for (int64_t seed = spec.first_seed; seed < spec.first_seed + seeds; ++seed) {
    SeedRun run(spec, directory, static_cast<uint64_t>(seed), stop, progress);
    UNMASK_TRY_STATUS(run.run());
  }
  return progress;
}

}  // namespace unmask
