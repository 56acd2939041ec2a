#pragma once

#include <atomic>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/evaluate/loss.h"
#include "unmask/experiment/stage.h"
#include "unmask/train/config.h"

namespace unmask {

// What a training configuration holds out, to measure the model of a place on.
class HeldOut {
 public:
  static Result<HeldOut> create(const StageSpec& spec, const StagePlace& place);

  const nlohmann::json& document() const { return document_; }
  // The place's model, its routing changed (changed_routing.h).
  Result<Model> load_model(const nlohmann::json& routing) const;
  // The sequences that training validates on.
  Result<SequenceBatch> read(const ModelConfig& config) const;
  // With the noise of training's validation, until `stop`.
  EvaluateOptions options(int32_t draws, const std::atomic<bool>& stop) const;

 private:
  std::string file_, model_;
  nlohmann::json document_;
  TrainConfig config_;
};

}  // namespace unmask
