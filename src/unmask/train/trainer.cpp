#include "unmask/train/trainer.h"

#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "unmask/base/clock.h"
#include "unmask/base/log.h"
#include "unmask/base/progress.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/checkpoint/training_state.h"
#include "unmask/evaluate/loss.h"
#include "unmask/report/metrics_writer.h"
#include "unmask/text/corpus.h"
#include "unmask/train/learner.h"
#include "unmask/train/plan.h"
#include "unmask/train/run_events.h"
#include "unmask/train/run_record.h"
#include "unmask/train/samples.h"
#include "unmask/train/step_reader.h"

namespace unmask {
namespace fs = std::filesystem;
namespace {

class Trainer {
 public:
  static Result<std::unique_ptr<Trainer>> open(TrainRequest request, DirectoryLock lock);
  Status run(const std::atomic<bool>& stop);

 private:
  Trainer(TrainRequest request, DirectoryLock lock, std::unique_ptr<Tokenizer> tokenizer,
          TrainingSequences sequences, Learner learner)
      : request_(std::move(request)),
        lock_(std::move(lock)),
        tokenizer_(std::move(tokenizer)),
        sequences_(std::move(sequences)),
        learner_(std::move(learner)) {
    state_.seed = config().seed;
    state_.parameters = &learner_.model().parameters();
    state_.first_moment = &learner_.first_moment();
    state_.second_moment = &learner_.second_moment();
  }

  const TrainConfig& config() const { return request_.config; }
  bool due(int64_t every) const {
    return state_.step == config().steps || (every > 0 && state_.step % every == 0);
  }
  Status begin();
  Status load(const CheckpointEntry& checkpoint);
  Status check_progress(const CheckpointEntry& checkpoint) const;
  bool to_measure() const {
    return due(config().evaluation.every) && held_out_.sequences() > 0 &&
           state_.measured_step < state_.step;
  }
  bool to_sample() const {
    return due(config().evaluation.sample_every) && state_.sampled_step < state_.step;
  }
  Status read();
  Result<StepReport> step();
  Result<bool> after_step(const std::atomic<bool>& stop);
  Status evaluate(const std::atomic<bool>& stop);
  Status save();
  void save_if_possible();
  void mark_saved();
  Status mark_best();
  bool is_best() const { return state_.best_loss && state_.best_step == state_.step; }
  void end(const std::string& reason);

  TrainRequest request_;
  DirectoryLock lock_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TrainingSequences sequences_;
  Learner learner_;
  std::optional<MetricsWriter> metrics_;
  TrainingState state_;
  SequenceBatch data_;
  SequenceBatch held_out_;
  bool saved_ = false;  // the state as it is
  std::optional<double> saved_best_loss_;
  int64_t saved_best_step_ = 0;
};

// What is wrong is found before anything is written.
Result<std::unique_ptr<Trainer>> Trainer::open(TrainRequest request, DirectoryLock lock) {
  TrainConfig& config = request.config;
  UNMASK_TRY(auto tokenizer, Tokenizer::load(config.data.tokenizer, config.data.special));
  UNMASK_TRY_STATUS(adopt_tokenizer(*tokenizer, config));
  UNMASK_TRY_STATUS(check_record(request.run_directory, request.document, request.resume));
  if (request.resume && !lock) {
    UNMASK_TRY(lock, lock_run(request.run_directory));
  }

  UNMASK_TRY(auto source, open_corpus(config.data.paths, *tokenizer, config.data.sequence_length));
  UNMASK_TRY(auto sequences,
             TrainingSequences::create(
                 std::move(source),
                 {.validation_fraction = config.data.validation_fraction, .seed = config.seed}));
  if (config.epochs > 0) {
    const double steps = config.epochs * static_cast<double>(sequences.train_count()) /
                         static_cast<double>(config.step_sequences());
    set_steps(static_cast<int64_t>(std::ceil(steps)), config);
  }
  UNMASK_TRY(const MemoryPlan plan, plan_memory(config));
  UNMASK_TRY_STATUS(check_memory(plan));
  UNMASK_TRY(auto learner, Learner::create(config));
  std::unique_ptr<Trainer> trainer(new Trainer(std::move(request), std::move(lock),
                                               std::move(tokenizer), std::move(sequences),
                                               std::move(learner)));
  UNMASK_TRY_STATUS(trainer->begin());
  return trainer;
}

Status Trainer::begin() {
  const std::string& directory = request_.run_directory;
  UNMASK_TRY(state_.data_fingerprint, sequences_.fingerprint());
  UNMASK_TRY_STATUS(read_validation(sequences_, config().evaluation.sequences, held_out_));
  const auto resumed =
      request_.resume ? latest_checkpoint(directory) : std::optional<CheckpointEntry>();
  UNMASK_TRY_STATUS(check_best(directory));
  if (resumed) {
    UNMASK_TRY_STATUS(load(*resumed));
  } else if (!config().from.empty()) {
    UNMASK_TRY_STATUS(
        load_parameters(config().from, config().model, learner_.model().parameters()));
  }
  learner_.model().round_experts();
  if (!lock_) {
    UNMASK_TRY(lock_, lock_run(directory));
    UNMASK_TRY_STATUS(check_record(directory, request_.document, request_.resume));
  }
  if (resumed) UNMASK_TRY_STATUS(mark_best());  // a kill may have come before it
  UNMASK_TRY_STATUS(write_record(directory, request_.document));
  UNMASK_TRY(metrics_, request_.resume
                           ? MetricsWriter::resume(directory, state_.step, state_.measured_step)
                           : MetricsWriter::create(directory));
  if (request_.resume) drop_samples_after(directory, state_.sampled_step);
  metrics_->write(config_event(config(), request_.document));
  return {};
}

// What one step makes of each number is known.
Status Trainer::check_progress(const CheckpointEntry& checkpoint) const {
  const auto sequences = static_cast<uint64_t>(state_.step * config().step_sequences());
  if (state_.step == checkpoint.step && state_.step <= config().steps &&
      state_.data_cursor == sequences && state_.seed == config().seed && state_.tokens >= 0 &&
      state_.seconds >= 0 && state_.measured_step <= state_.step &&
      state_.sampled_step <= state_.step) {
    return {};
  }
  return failure(
      "{}: training_state/state.json is not that of step {} of this run: found step {}, {} "
      "sequences read (expected {}), seed {} (expected {})",
      checkpoint.path, checkpoint.step, state_.step, state_.data_cursor, sequences, state_.seed,
      config().seed);
}

Status Trainer::load(const CheckpointEntry& checkpoint) {
  const uint64_t fingerprint = std::exchange(state_.data_fingerprint, 0);
  state_.measured_step = state_.sampled_step = -1;
  Status loaded = load_checkpoint(checkpoint.path, learner_.model().config(), state_);
  if (loaded) loaded = check_progress(checkpoint);
  if (!loaded) {
    return failure("{}; remove {} to go on from the checkpoint before it, if there is one",
                   loaded.error().message, checkpoint.path);
  }
  if (state_.data_fingerprint != 0 && state_.data_fingerprint != fingerprint) {
    return failure(
        "{}: the run was started with other data than data.paths now holds; resume it with the "
        "same, or start a new run",
        request_.run_directory);
  }
  state_.data_fingerprint = fingerprint;
  // Checkpoints that do not say so were saved after both.
  if (state_.measured_step < 0) state_.measured_step = state_.step;
  if (state_.sampled_step < 0) state_.sampled_step = state_.step;
  mark_saved();
  return {};
}

Status Trainer::read() {
  return read_step(sequences_, static_cast<int64_t>(state_.data_cursor), config().step_sequences(),
                   data_);
}

Result<StepReport> Trainer::step() {
  saved_ = false;
  const int64_t count = config().step_sequences();
  UNMASK_TRY(const StepReport report, learner_.step(state_.step + 1, data_));
  ++state_.step;
  state_.data_cursor += static_cast<uint64_t>(count);
  state_.tokens += data_.tokens_without_padding();
  return report;
}

// Of an evaluation that `stop` ends nothing is kept: a run that goes on makes it first.
Status Trainer::evaluate(const std::atomic<bool>& stop) {
  const EvaluateOptions options = {.draws = config().evaluation.draws,
                                   .levels = config().evaluation.levels,
                                   .batch_sequences = config().batch,
                                   .seed = config().seed,
                                   .cancel = &stop};
  UNMASK_TRY(const Evaluation evaluation,
             evaluate_loss(learner_.model(), clean_batch(held_out_), options, learner_.tape()));
  if (stop) return {};
  saved_ = false;
  state_.measured_step = state_.step;
  const double loss = evaluation.stratified.loss();
  const bool best = !state_.best_loss || loss < *state_.best_loss;
  if (best) {
    state_.best_loss = loss;
    state_.best_step = state_.step;
  }
  metrics_->write(validation_event(state_, evaluation));
  if (request_.show_progress) {
    log_info("step {}: validation loss {:.4f}, perplexity {:.2f}{}", state_.step, loss,
             evaluation.stratified.perplexity(), best ? ", the best so far" : "");
  }
  return {};
}

Status Trainer::save() {
  if (saved_) return {};
  const double begin = seconds_now();
  const std::string path = checkpoint_path(request_.run_directory, state_.step);
  UNMASK_TRY_STATUS(
      save_checkpoint(path, learner_.model().config(), state_,
                      [&](const std::string& staged) { return tokenizer_->save(staged); }));
  UNMASK_TRY_STATUS(mark_best());
  UNMASK_TRY_STATUS(prune_checkpoints(request_.run_directory, config().checkpoint.keep));
  mark_saved();
  metrics_->write(CheckpointEvent{.step = state_.step,
                                  .tokens = state_.tokens,
                                  .seconds = state_.seconds,
                                  .path = fs::path(path).lexically_relative(request_.run_directory),
                                  .best = is_best(),
                                  .seconds_taken = seconds_now() - begin});
  return {};
}

Status Trainer::mark_best() {
  return is_best() ? mark_best_checkpoint(request_.run_directory, state_.step) : Status();
}

void Trainer::mark_saved() {
  saved_ = true;
  saved_best_loss_ = state_.best_loss;
  saved_best_step_ = state_.best_step;
}

// Training goes on where a checkpoint on the way cannot be written: the next one may be. The best
// is the best of what has been saved.
void Trainer::save_if_possible() {
  const Status saved = save();
  if (saved) return;
  state_.best_loss = saved_best_loss_;
  state_.best_step = saved_best_step_;
  log_warning("{}; training goes on", saved.error().message);
}

void Trainer::end(const std::string& reason) {
  metrics_->write(EndEvent{
      .step = state_.step, .tokens = state_.tokens, .seconds = state_.seconds, .reason = reason});
}

// What is due now; false when `stop` ends the run here.
Result<bool> Trainer::after_step(const std::atomic<bool>& stop) {
  const bool last = state_.step == config().steps;
  if (last) UNMASK_TRY_STATUS(save());  // before what may take long, too
  if (to_measure() && !stop) UNMASK_TRY_STATUS(evaluate(stop));
  if (to_sample() && !stop) {
    UNMASK_TRY(const bool whole, append_sample(request_.run_directory, state_.step, learner_,
                                               *tokenizer_, config(), stop));
    if (whole) {
      state_.sampled_step = state_.step;
      saved_ = false;
    }
  }
  const bool leaving = stop.load() && (!last || to_measure() || to_sample());
  if (last || leaving) {
    UNMASK_TRY_STATUS(save());
  } else if (is_best() || due(config().checkpoint.every)) {
    save_if_possible();
  }
  if (leaving) {
    end("interrupted");
    if (request_.show_progress) log_info("saved at step {}; go on with --resume", state_.step);
  }
  return !leaving;
}

Status Trainer::run(const std::atomic<bool>& stop) {
  std::optional<Progress> progress;
  if (request_.show_progress) progress.emplace(config().name, config().steps, state_.step);

  // What an interrupted run had still to do.
  if (state_.step > 0 && (to_measure() || to_sample())) {
    UNMASK_TRY(const bool goes_on, after_step(stop));
    if (!goes_on) return {};
  }
  double window_seconds = 0;
  int64_t window_begin = state_.tokens;
  while (state_.step < config().steps) {
    const double begin = seconds_now();
    if (const Status status = read(); !status) {
      end("failed: " + status.error().message);
      return status;
    }
    const auto report = step();
    if (!report) {
      end("diverged: " + report.error().message);
      return report.error();
    }
    const double seconds = seconds_now() - begin;
    state_.seconds += seconds;
    window_seconds += seconds;
    const double rate = static_cast<double>(state_.tokens - window_begin) / window_seconds;
    if (progress) progress->update({state_.step, report->loss.cross_entropy, rate});
    if (due(config().log_every)) {
      metrics_->write(train_event(state_, *report, config(), rate));
      window_seconds = 0;
      window_begin = state_.tokens;
    }
    if (due(config().evaluation.every)) metrics_->write(routing_event(state_, learner_));
    UNMASK_TRY(const bool goes_on, after_step(stop));
    if (!goes_on) return {};
  }
  end("finished");
  return {};
}

}  // namespace

Status train(TrainRequest request, const std::atomic<bool>& stop, DirectoryLock lock) {
  UNMASK_TRY(const auto trainer, Trainer::open(std::move(request), std::move(lock)));
  return trainer->run(stop);
}

}  // namespace unmask
