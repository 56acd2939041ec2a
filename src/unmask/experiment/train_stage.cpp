#include <filesystem>
#include <functional>
#include <utility>

#include "unmask/checkpoint/retention.h"
#include "unmask/experiment/run_measures.h"
#include "unmask/experiment/stage.h"
#include "unmask/experiment/training_document.h"
#include "unmask/train/distillation.h"
#include "unmask/train/trainer.h"

namespace unmask {
namespace {

using nlohmann::json;

// Begins or resumes a run.
using StartRun = std::function<Status(bool resume, const std::atomic<bool>& stop)>;

// A run in the stage's directory, from the configuration `what`.
class RunStage final : public Stage {
 public:
  RunStage(std::string directory, json document, StartRun start)
      : directory_(std::move(directory)),
        document_(std::move(document)),
        start_(std::move(start)) {}

  json description() const override { return document_; }

  Result<std::optional<Measured>> run(const std::atomic<bool>& stop) override {
    std::error_code code;
    const bool resume = std::filesystem::exists(directory_ + "/config.json", code);
    UNMASK_TRY_STATUS(start_(resume, stop));
    // What was stopped may have logged nothing yet; what was just done is measured when it goes on.
    if (stop.load()) return std::optional<Measured>();
    UNMASK_TRY(const RunLog log, read_run(directory_));
    return std::optional(measure_run(log));
  }

  // The last, not the best: arms are compared after the same number of steps.
  std::string model() const override {
    const auto last = latest_checkpoint(directory_);
    return last ? last->path : "";
  }

 private:
  std::string directory_;
  json document_;
  StartRun start_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_train_stage(const StageSpec& spec, const StagePlace& place) {
  UNMASK_TRY(const json document, training_document(spec, place));
  UNMASK_TRY(TrainConfig config, train_config_from_json(document, place.experiment.directory));
  config.name = place.directory;
  const TrainRequest request = {.config = std::move(config),
                                .document = document,
                                .run_directory = place.directory,
                                .show_progress = false};
  const auto start = [request](bool resume, const std::atomic<bool>& stop) {
    TrainRequest now = request;
    now.resume = resume;
    return train(std::move(now), stop);
  };
  return std::unique_ptr<Stage>(std::make_unique<RunStage>(place.directory, document, start));
}

Result<std::unique_ptr<Stage>> make_distill_stage(const StageSpec& spec, const StagePlace& place) {
  UNMASK_TRY(const json document, training_document(spec, place));
  UNMASK_TRY(DistillConfig config, distill_config_from_json(document, place.experiment.directory));
  config.train.name = place.directory;
  const DistillRequest request = {.config = std::move(config),
                                  .document = document,
                                  .run_directory = place.directory,
                                  .show_progress = false};
  const auto start = [request](bool resume, const std::atomic<bool>& stop) {
    DistillRequest now = request;
    now.resume = resume;
    return distill(std::move(now), stop);
  };
  return std::unique_ptr<Stage>(std::make_unique<RunStage>(place.directory, document, start));
}

}  // namespace unmask
