#include <utility>
#include <vector>

#include "unmask/base/document.h"
#include "unmask/experiment/held_out.h"
#include "unmask/experiment/left_out_router.h"
#include "unmask/experiment/stage.h"

namespace unmask {
namespace {

using nlohmann::json;

// How much the loss on what the configuration `what` holds out rises when experts are left out
// where their weight is in a range: for each range one layer after the other. The rise is in nats
// for one expert left out of every token: (loss - loss as it is) / (left out / tokens).
class LeaveOutStage final : public Stage {
 public:
  LeaveOutStage(HeldOut held_out, std::vector<double> edges)
      : held_out_(std::move(held_out)), edges_(std::move(edges)) {}

  json description() const override {
    return {{"configuration", held_out_.document()}, {"edges", edges_}};
  }

  Result<std::optional<Measured>> run(const std::atomic<bool>& stop) override {
    UNMASK_TRY(Model model, held_out_.load_model(json::object()));
    UNMASK_TRY(const SequenceBatch data, held_out_.read(model.config()));
    const ModelConfig config = model.config();
    std::vector<WeightRange> ranges(static_cast<size_t>(config.layers));
    std::vector<LeftOut> left_out(ranges.size());
    for (int32_t l = config.dense_layers; l < config.layers; ++l) {
      model.change_router(l, [&](std::unique_ptr<Router> router) {
        return std::make_unique<LeftOutRouter>(std::move(router), ranges[l], left_out[l]);
      });
    }
    Tape tape;
    const auto loss = [&]() -> Result<double> {
      UNMASK_TRY(const Evaluation evaluation,
                 evaluate_loss(model, clean_batch(data), held_out_.options(1, stop), tape));
      return evaluation.stratified.loss();
    };
    UNMASK_TRY(const double whole, loss());
    std::vector<double> weight, share, rise;
    for (size_t i = 1; i < edges_.size(); ++i) {
      double slots_per_token = 0, weight_sum = 0, slots = 0, risen = 0;
      for (int32_t l = config.dense_layers; l < config.layers; ++l) {
        left_out[l] = {};
        ranges[l] = {static_cast<float>(edges_[i - 1]), static_cast<float>(edges_[i])};
        UNMASK_TRY(const double without, loss());
        if (stop) return std::optional<Measured>();
        ranges[l] = {};
        if (left_out[l].slots == 0) continue;
        slots_per_token +=
            static_cast<double>(left_out[l].slots) / static_cast<double>(left_out[l].tokens);
        slots += static_cast<double>(left_out[l].slots);
        weight_sum += left_out[l].weight_sum;
        risen += without - whole;
      }
      if (slots == 0) continue;
      weight.push_back(weight_sum / slots);
      share.push_back(slots_per_token / (config.layers - config.dense_layers));
      rise.push_back(risen / slots_per_token);
    }
    Measured measured;
    measured.values["loss"] = whole;
    measured.curves["weights"] = {{"weight", weight}, {"slots_per_token", share}, {"rise", rise}};
    return std::optional(std::move(measured));
  }

 private:
  HeldOut held_out_;
  std::vector<double> edges_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_leave_out_stage(const StageSpec& spec,
                                                    const StagePlace& place) {
  std::vector<double> edges;
  Fields fields(spec.keys, spec.name, place.experiment.directory);
  fields.require("edges", edges);
  if (edges.size() < 2) fields.refuse("edges", "two or more ascending weights");
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  UNMASK_TRY(HeldOut held_out, HeldOut::create(spec, place));
  return std::unique_ptr<Stage>(
      std::make_unique<LeaveOutStage>(std::move(held_out), std::move(edges)));
}

}  // namespace unmask
