#include "unmask/experiment/held_out.h"

#include "unmask/checkpoint/loaded_model.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/experiment/changed_routing.h"
#include "unmask/experiment/training_document.h"
#include "unmask/text/corpus.h"
#include "unmask/train/step_reader.h"

namespace unmask {

Result<HeldOut> HeldOut::create(const StageSpec& spec, const StagePlace& place) {
  if (place.model.empty()) {
    return usage_error("{}: stage \"{}\": expected a model to measure, from an earlier stage",
                       place.experiment.directory, spec.name);
  }
  HeldOut held_out;
  held_out.file_ = place.experiment.directory;
  held_out.model_ = place.model;
  UNMASK_TRY(held_out.document_, training_document(spec, place));
  UNMASK_TRY(held_out.config_, train_config_from_json(held_out.document_, held_out.file_));
  return held_out;
}

Result<Model> HeldOut::load_model(const nlohmann::json& routing) const {
  return unmask::load_model(model_, {.adjust = [&](ModelConfig& config) {
                              return change_routing(routing, file_, config);
                            }});
}

Result<SequenceBatch> HeldOut::read(const ModelConfig& config) const {
  UNMASK_TRY(const auto tokenizer, load_tokenizer(model_, config));
  UNMASK_TRY(auto source,
             open_corpus(config_.data.paths, *tokenizer, config_.data.sequence_length));
  UNMASK_TRY(const auto sequences,
             TrainingSequences::create(
                 std::move(source),
                 {.validation_fraction = config_.data.validation_fraction, .seed = config_.seed}));
  SequenceBatch data;
  UNMASK_TRY_STATUS(read_validation(sequences, config_.evaluation.sequences, data));
  return data;
}

EvaluateOptions HeldOut::options(int32_t draws, const std::atomic<bool>& stop) const {
  return {.draws = draws, .batch_sequences = config_.batch, .seed = config_.seed, .cancel = &stop};
}

}  // namespace unmask
