#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"

namespace unmask {

// Everything that a resumed run needs to go on as if it had never stopped. `visit` lists the
// fields once; saving and loading both go through it, so that a new field cannot be forgotten
// by one of them. Parameters and moments are borrowed from the learner.
struct TrainingState {
  int64_t step = 0;                 // updates done
  int64_t tokens = 0;               // tokens trained on
  uint64_t data_cursor = 0;         // sequences read, the position in the shuffled corpus
  uint64_t seed = 0;                // of every random number of the run
  double seconds = 0;               // spent training
  std::optional<double> best_loss;  // lowest validation loss so far
  int64_t best_step = 0;            // where it was
  int64_t measured_step = 0;        // where the validation loss was measured last
  int64_t sampled_step = 0;         // where a text was written last
  uint64_t data_fingerprint = 0;    // of the sequences that the cursor counts
  const Parameters* parameters = nullptr;
  const Parameters* first_moment = nullptr;
  const Parameters* second_moment = nullptr;

  // visitor(name, field) for each field, Parameters by reference.
  template <class State, class Visitor>
  static void visit(State& state, Visitor&& visitor) {
    visitor("step", state.step);
    visitor("tokens", state.tokens);
    visitor("data_cursor", state.data_cursor);
    visitor("seed", state.seed);
    visitor("seconds", state.seconds);
    visitor("best_loss", state.best_loss);
    visitor("best_step", state.best_step);
    visitor("measured_step", state.measured_step);
    visitor("sampled_step", state.sampled_step);
    visitor("data_fingerprint", state.data_fingerprint);
    visitor("parameters", *state.parameters);
    visitor("first_moment", *state.first_moment);
    visitor("second_moment", *state.second_moment);
  }
};

// A checkpoint is a directory in the form of Hugging Face (hugging_face.h) with `training_state/`
// in it: state.json with the numbers, state.safetensors with the moments. It is
// staged, synced and renamed into place: a kill or a full disk leaves what was there before.
// `add_files` may put more into the staged directory, such as the tokenizer.
Status save_checkpoint(const std::string& directory, const ModelConfig& config,
                       const TrainingState& state,
                       const std::function<Status(const std::string& staged)>& add_files = {});

// Into the parameters and moments that `state` borrows, which have the layout of `config`.
Status load_checkpoint(const std::string& directory, const ModelConfig& config,
                       TrainingState& state);

}  // namespace unmask
