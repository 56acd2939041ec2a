#include "unmask/experiment/runner.h"

#include <algorithm>
#include <map>
#include <optional>
#include <thread>

#include "unmask/base/caught.h"
#include "unmask/base/clock.h"
#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/log.h"
#include "unmask/base/parallel.h"
#include "unmask/base/progress.h"
#include "unmask/evaluate/tasks/registry.h"
#include "unmask/experiment/record.h"
#include "unmask/experiment/stage.h"

namespace unmask {
namespace {

Status check_needs(const ExperimentSpec& spec) {
  for (const std::string& file : spec.needs) {
    if (path_exists(file)) continue;
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
  if (path_exists(record)) {
    UNMASK_TRY(const nlohmann::json before, read_json_file(record));
    if (before == description) return {};
    return usage_error(
        "{}: was made of {}, expected {}; remove {} to begin anew, or give another "
        "--out",
        path, to_text(before), to_text(description), directory);
  }
  log_info("{}: {} examples of {}", path, data.count, data.task);
  UNMASK_TRY(const auto task, make_task(data.task, data.settings));
  UNMASK_TRY(const auto examples, draw_examples(*task, Split::train, data.count, data.seed));
  UNMASK_TRY_STATUS(write_file_atomically(path, conversation_lines(examples)));
  return write_file_atomically(record, to_text(description, 1) + "\n");
}

// Kernels use `threads` threads for as long as this lives.
class ThreadsOfKernels {
 public:
  explicit ThreadsOfKernels(int threads) { set_thread_count(threads); }
  ~ThreadsOfKernels() { set_thread_count(before_); }
  ThreadsOfKernels(const ThreadsOfKernels&) = delete;
  ThreadsOfKernels& operator=(const ThreadsOfKernels&) = delete;

 private:
  int before_ = thread_count();
};

// How many stages are finished, shown as they are.
class Tally {
 public:
  Tally(const std::string& name, int64_t stages, int64_t finished)
      : finished_(finished), progress_(name, stages, finished) {}
  void add() { progress_.update({.step = ++finished_}); }

 private:
  std::atomic<int64_t> finished_;
  Progress progress_;
};

Tally tally_of(const ExperimentSpec& spec, const std::string& directory, int32_t seeds) {
  int64_t stages = 0, finished = 0;
  for (const ArmSpec& arm : spec.arms) {
    for (const StageSpec& stage : arm.stages) {
      for (int32_t i = 0; i < seeds; ++i) {
        const auto seed = static_cast<uint64_t>(spec.first_seed + i);
        ++stages;
        finished += has_stage_record(stage_directory(directory, arm.name, seed, stage.name));
      }
    }
  }
  return {spec.name, stages, finished};
}

// What seeds that are done at the same time share.
struct Shared {
  const ExperimentSpec& spec;
  const std::string& directory;
  const std::atomic<bool>& stop;
  Tally& tally;
  std::atomic<bool> failed = false;  // one of them did: the others begin nothing more

  bool leaving() const { return stop.load() || failed.load(); }
};

// An experiment at work on one seed: arms in order, each from the models of those before.
class SeedRun {
 public:
  SeedRun(Shared& shared, uint64_t seed) : shared_(shared), seed_(seed) {}

  Result<RunProgress> run() {
    for (const ArmSpec& arm : shared_.spec.arms) {
      std::string model;
      for (const StageSpec& stage : arm.stages) {
        if (!stage.from.empty()) model = models_[stage.from];
        UNMASK_TRY_STATUS(advance(arm, stage, model));
        models_[fmt::format("{}/{}", arm.name, stage.name)] = model;
      }
      models_[arm.name] = model;
    }
    return std::move(progress_);
  }

 private:
  // Takes `model` to the checkpoint that the stage leaves.
  Status advance(const ArmSpec& arm, const StageSpec& spec, std::string& model) {
    const std::string where = fmt::format("seed {}, {}: {}", seed_, arm.name, spec.name);
    ++progress_.stages;
    const std::string directory = stage_directory(shared_.directory, arm.name, seed_, spec.name);
    if (shared_.leaving()) {
      count(has_stage_record(directory), where);
      return {};
    }
    const StagePlace place = {.experiment = shared_.spec,
                              .directory = directory,
                              .data = shared_.directory + "/data",
                              .model = model,
                              .seed = seed_};
    UNMASK_TRY(const auto stage, make_stage(spec, place));
    UNMASK_TRY(const bool finished, do_once(*stage, place, where));
    count(finished, where);
    if (finished && !stage->model().empty()) model = stage->model();
    return {};
  }

  void count(bool finished, const std::string& where) {
    if (finished) {
      ++progress_.finished;
    } else {
      progress_.remaining.push_back(where);
    }
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
    const double begin = seconds_now();
    UNMASK_TRY(auto measured, stage.run(shared_.stop));
    if (!measured) return false;
    UNMASK_TRY_STATUS(write_stage_record(
        place.directory, {.description = stage.description(),
                          .measured = std::move(*measured),
                          .core_seconds = (seconds_now() - begin) * thread_count()}));
    shared_.tally.add();
    return true;
  }

  Shared& shared_;
  uint64_t seed_;
  RunProgress progress_;
  std::map<std::string, std::string> models_;  // by arm, and by arm and stage
};

// Every seed, `side_by_side` at any time; what each came to, in their order.
std::vector<Result<RunProgress>> run_seeds(Shared& shared, int32_t seeds, int32_t side_by_side) {
  std::vector<Result<RunProgress>> outcomes(static_cast<size_t>(seeds), RunProgress());
  std::atomic<int32_t> next = 0;
  const auto work = [&] {
    for (int32_t i = next++; i < seeds; i = next++) {
      const auto seed = static_cast<uint64_t>(shared.spec.first_seed + i);
      Result<RunProgress>& outcome = outcomes[static_cast<size_t>(i)];
      outcome = caught([&] { return SeedRun(shared, seed).run(); });
      if (!outcome) shared.failed = true;
    }
  };
  const ThreadsOfKernels threads(std::max(1, thread_count() / side_by_side));
  std::vector<std::jthread> others;
  for (int32_t i = 1; i < side_by_side; ++i) others.emplace_back(work);
  work();
  others.clear();
  return outcomes;
}

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
  const int32_t seeds = request.seeds > 0 ? request.seeds : spec.seeds;
  const int32_t side_by_side =
      std::min(request.side_by_side > 0 ? request.side_by_side : thread_count(), seeds);
  Tally tally = tally_of(spec, directory, seeds);
  Shared shared = {.spec = spec, .directory = directory, .stop = stop, .tally = tally};
  RunProgress progress;
  for (auto& outcome : run_seeds(shared, seeds, side_by_side)) {
    UNMASK_TRY(const RunProgress of_seed, std::move(outcome));
    progress.stages += of_seed.stages;
    progress.finished += of_seed.finished;
    std::ranges::copy(of_seed.remaining, std::back_inserter(progress.remaining));
  }
  return progress;
}

}  // namespace unmask
