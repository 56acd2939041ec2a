#include <utility>

#include "unmask/base/document.h"
#include "unmask/experiment/held_out.h"
#include "unmask/experiment/run_measures.h"
#include "unmask/experiment/stage.h"

namespace unmask {
namespace {

using nlohmann::json;

// The loss of the model before on what the training configuration `what` holds out, with the same
// noise as its validation; under another routing policy, if one is named.
class LossStage final : public Stage {
 public:
  LossStage(HeldOut held_out, json routing, int32_t draws)
      : held_out_(std::move(held_out)), routing_(std::move(routing)), draws_(draws) {}

  json description() const override {
    return {{"configuration", held_out_.document()}, {"routing", routing_}, {"draws", draws_}};
  }

  Result<std::optional<Measured>> run(const std::atomic<bool>& stop) override {
    UNMASK_TRY(Model model, held_out_.load_model(routing_));
    UNMASK_TRY(const SequenceBatch data, held_out_.read(model.config()));
    Tape tape;
    UNMASK_TRY(const Evaluation evaluation,
               evaluate_loss(model, clean_batch(data), held_out_.options(draws_, stop), tape));
    if (stop) return std::optional<Measured>();
    Measured measured;
    measured.values["loss"] = evaluation.stratified.loss();
    const auto bins = evaluation.stratified.coarse_bins(kMaskBins);
    for (int32_t i = 0; i < kMaskBins; ++i) {
      if (bins[i].count > 0) measured.values[fmt::format("bin_{}", i + 1)] = bins[i].mean();
    }
    return std::optional(std::move(measured));
  }

 private:
  HeldOut held_out_;
  json routing_;
  int32_t draws_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_loss_stage(const StageSpec& spec, const StagePlace& place) {
  int32_t draws = 1;
  json routing = json::object();
  Fields fields(spec.keys, spec.name, place.experiment.directory);
  fields.read_between("draws", draws, 1);
  if (const json* found = fields.find("routing")) routing = *found;
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  UNMASK_TRY(HeldOut held_out, HeldOut::create(spec, place));
  return std::unique_ptr<Stage>(
      std::make_unique<LossStage>(std::move(held_out), std::move(routing), draws));
}

}  // namespace unmask
