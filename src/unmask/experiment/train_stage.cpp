#include <filesystem>
#include <utility>

#include "unmask/base/document.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/experiment/run_measures.h"
#include "unmask/experiment/stage.h"
#include "unmask/experiment/training_document.h"
#include "unmask/train/trainer.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A training run in the stage's directory, from the configuration `what`.
class TrainStage final : public Stage {
 public:
  TrainStage(std::string directory, json document, TrainConfig config)
      : directory_(std::move(directory)),
        document_(std::move(document)),
        config_(std::move(config)) {}

  json description() const override { return document_; }

  Result<std::optional<Measured>> run(const std::atomic<bool>& stop) override {
    const bool resume = latest_checkpoint(directory_).has_value();
    if (!resume) {  // a run that was killed before its first checkpoint begins anew
      std::error_code code;
      fs::remove_all(directory_, code);
    }
    UNMASK_TRY_STATUS(train({.config = config_,
                             .document = document_,
                             .run_directory = directory_,
                             .resume = resume,
                             .show_progress = true},
                            stop));
    const auto last = latest_checkpoint(directory_);
    if (!last || last->step < config_.steps) return std::optional<Measured>();
    UNMASK_TRY(const RunLog log, read_run(directory_));
    return std::optional(measure_run(log));
  }

  // The last, not the best: arms are compared after the same number of steps.
  std::string model() const override { return checkpoint_path(directory_, config_.steps); }

 private:
  std::string directory_;
  json document_;
  TrainConfig config_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_train_stage(const StageSpec& spec, const StagePlace& place) {
  UNMASK_TRY(json document, training_document(spec, place));
  UNMASK_TRY(TrainConfig config, train_config_from_json(document, place.experiment.directory));
  config.name = place.directory;
  return std::unique_ptr<Stage>(
      std::make_unique<TrainStage>(place.directory, std::move(document), std::move(config)));
}

}  // namespace unmask
