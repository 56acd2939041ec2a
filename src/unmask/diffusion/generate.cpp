#include "unmask/diffusion/generate.h"

#include <algorithm>
#include <cmath>
#include <sys/resource.h>

#include "unmask/diffusion/forward_batch.h"
#include "unmask/kernels/finite.h"

namespace unmask {
namespace {

Status check_options(const GenerateOptions& options, const ModelConfig& config) {
  if (options.steps < 1) return usage_error("steps {}: expected at least 1", options.steps);
  if (!(options.temperature >= 0.0f && std::isfinite(options.temperature))) {
    return usage_error("temperature {}: expected 0 or more", options.temperature);
  }
  if (options.block_length < 0) {
    return usage_error("block length {}: expected 0 (one block) or more", options.block_length);
  }
  if (config.attention_block > 0 && options.block_length % config.attention_block != 0) {
    return usage_error(
        "block length {}: this model attends in blocks of {}, expected a multiple of that",
        options.block_length, config.attention_block);
  }
  return {};
}

Status check_canvas(const Canvas& canvas, const ModelConfig& config) {
  if (canvas.size() == 0) return usage_error("nothing to generate: the canvas is empty");
  if (canvas.size() > config.max_positions) {
    return usage_error(
        "prompt and generated length need {} positions, the model has {}: shorten the prompt or "
        "generate less",
        canvas.size(), config.max_positions);
  }
  for (const int32_t token : canvas.tokens()) {
    if (token < 0 || token >= config.vocab_size) {
      return usage_error("token {} in the prompt: expected ids below the vocabulary size {}", token,
                         config.vocab_size);
    }
  }
  return {};
}

bool is_continuation(const Canvas& canvas) {  // nothing is given behind the first gap
  const auto given = canvas.given();
  return std::is_sorted(given.begin(), given.end(), std::greater<>());
}

// One request on its way through its blocks.
class Decoding {
 public:
  Decoding(size_t index, const GenerateRequest& request, std::unique_ptr<Sampler> sampler,
           const GenerateOptions& options, const ModelConfig& config)
      : index_(index),
        seed_(request.seed),
        sampler_(std::move(sampler)),
        options_(options),
        config_(config),
        stops_(options.stop_at_end && is_continuation(request.canvas)),
        in_blocks_(options.block_length > 0 || config.attention_block > 0),
        block_length_(options.block_length     ? options.block_length
                      : config.attention_block ? config.attention_block
                                               : request.canvas.size()) {
    result_.canvas = request.canvas;
    result_.unique_experts.assign(static_cast<size_t>(config.layers), 0.0);
    enter_next_block();
  }

  bool done() const { return block_masked_ == 0; }
  size_t index() const { return index_; }

  // Appends the rows that the active block needs, and those of its masked positions to `rows`.
  void add_to(const BatchLayout& layout, ForwardBatch& batch, std::vector<int32_t>& rows) {
    const Canvas& canvas = result_.canvas;
    // Where attention looks no further than the block, what is behind it is not computed.
    const bool causal = layout.attention == BatchLayout::Attention::block_causal;
    const auto length = static_cast<size_t>(causal ? block_end_ : canvas.size());
    first_row_ = batch.add(layout, canvas.tokens().first(length), canvas.masked().first(length));
    positions_.clear();
    for (int32_t i = block_begin_; i < block_end_; ++i) {
      if (canvas.masked()[i]) positions_.push_back(i);
    }
    for (const int32_t position : positions_) rows.push_back(first_row_ + position);
  }

  int64_t candidates() const { return std::ssize(positions_); }

  // Commits what the sampler chooses from the logits of the block's masked positions.
  void step(Matrix logits) {
    const DenoisingStep step{
        .logits = logits,
        .positions = positions_,
        .quota = quota_at(scheduled_, options_.steps, block_step_),
        .mask_token = config_.mask_token,
        .temperature = options_.temperature,
        .seed = seed_,
        .step = static_cast<uint64_t>(result_.forwards),
    };
    sampler_->choose(step, commits_);
    UNMASK_CHECK(!commits_.empty());
    for (const Commit& commit : commits_) result_.canvas.commit(commit.position, commit.token);
    result_.committed += static_cast<int32_t>(commits_.size());
    ++result_.forwards;
    ++block_step_;
    if (options_.on_step) {
      options_.on_step({index_, result_.forwards, result_.canvas, commits_});
    }
    if (stops_ && first_generated_end() >= 0) {
      result_.ended = true;
      block_masked_ = 0;
    } else if (result_.canvas.masked_count(block_begin_, block_end_) == 0) {
      block_begin_ = block_end_;
      enter_next_block();
    }
  }

  void count_unique_experts(const Tape& tape) {
    for (size_t l = 0; l < tape.layers.size(); ++l) {
      if (config_.is_dense(static_cast<int32_t>(l))) continue;
      result_.unique_experts[l] += unique_experts(tape.layers[l].routing.assignment);
    }
  }

  Generation finish() {
    result_.cancelled = !done();
    const auto tokens = result_.canvas.tokens();
    const auto masked = result_.canvas.masked();
    int64_t length = std::find(masked.begin(), masked.end(), 1) - masked.begin();
    if (result_.ended) length = first_generated_end();
    result_.tokens.assign(tokens.begin(), tokens.begin() + length);
    for (double& count : result_.unique_experts) count /= std::max(result_.forwards, 1);
    return std::move(result_);
  }

 private:
  // Moves to the first block from block_begin_ on that has anything masked; none: done.
  void enter_next_block() {
    const int32_t size = result_.canvas.size();
    block_masked_ = 0;
    block_step_ = 0;
    for (; block_begin_ < size; block_begin_ = block_end_) {
      block_end_ = block_begin_ + std::min(block_length_, size - block_begin_);
      block_masked_ = result_.canvas.masked_count(block_begin_, block_end_);
      // In blocks the schedule is a rate, block_length / steps, also where a part of the block is
      // prompt (LLaDA2's generate); else the steps are shared out over what is masked.
      scheduled_ = in_blocks_ ? block_length_ : block_masked_;
      if (block_masked_ > 0) return;
    }
  }

  // The first end token that was generated, if nothing before it is masked; else -1.
  int32_t first_generated_end() const {
    const Canvas& canvas = result_.canvas;
    for (int32_t i = 0; i < canvas.size() && !canvas.masked()[i]; ++i) {
      if (!canvas.given()[i] && canvas.tokens()[i] == config_.end_token) return i;
    }
    return -1;
  }

  int32_t unique_experts(const Assignment& assignment) const {
    int32_t count = 0;
    for (int32_t e = 0; e < assignment.experts; ++e) {
      const auto tokens = assignment.tokens_of(e);
      const auto first = std::lower_bound(tokens.begin(), tokens.end(), first_row_ + block_begin_);
      count += first != tokens.end() && *first < first_row_ + block_end_;
    }
    return count;
  }

  size_t index_;
  uint64_t seed_;
  std::unique_ptr<Sampler> sampler_;
  const GenerateOptions& options_;
  const ModelConfig& config_;
  bool stops_;
  bool in_blocks_;
  int32_t block_length_;

  Generation result_;
  int32_t block_begin_ = 0, block_end_ = 0;
  int32_t block_masked_ = 0;  // positions that were masked when the block was entered; 0: done
  int32_t scheduled_ = 0;     // positions that the steps of a block are shared out over
  int32_t block_step_ = 0;
  int32_t first_row_ = 0;           // of this forward pass
  std::vector<int32_t> positions_;  // masked ones of the active block
  std::vector<Commit> commits_;
};

int64_t expert_bytes(const Tape& tape, const ModelConfig& config) {
  const int64_t one =
      int64_t{3} * config.hidden * config.expert_ffn * static_cast<int64_t>(sizeof(float));
  int64_t used = 0;
  for (const Tape::Layer& layer : tape.layers) {
    const Assignment& assignment = layer.routing.assignment;
    for (int32_t e = 0; e < assignment.experts; ++e) used += assignment.load(e) > 0;
  }
  return used * one;
}

int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

Result<std::vector<Generation>> generate(Model& model, std::span<const GenerateRequest> requests,
                                         const GenerateOptions& options, Tape& tape,
                                         GenerateReport* report) {
  const ModelConfig& config = model.config();
  UNMASK_TRY_STATUS(check_options(options, config));
  std::vector<Decoding> decodings;
  for (size_t i = 0; i < requests.size(); ++i) {
    UNMASK_TRY_STATUS(check_canvas(requests[i].canvas, config));
    UNMASK_TRY(auto sampler, make_sampler(options.sampler));
    decodings.emplace_back(i, requests[i], std::move(sampler), options, config);
  }

  GenerateReport totals;
  tape.mode = Tape::Mode::inference;
  tape.profile = {};
  const BatchLayout layout = decoding_layout(config);
  ForwardBatch batch;
  std::vector<int32_t> rows;
  std::vector<Decoding*> active;
  {
    const ProfileScope time(totals.seconds);
    while (!(options.cancel && options.cancel->load())) {
      batch.clear();
      rows.clear();
      active.clear();
      for (Decoding& decoding : decodings) {
        if (decoding.done()) continue;
        decoding.add_to(layout, batch, rows);
        active.push_back(&decoding);
      }
      if (active.empty()) break;
      batch.finish(layout);
      model.forward(batch.batch(), tape);
      if (!all_finite({tape.hidden.data, static_cast<size_t>(tape.hidden.size())})) {
        return failure(
            "the model gives values that are not finite: its weights are damaged, or training "
            "diverged; try an earlier checkpoint");
      }
      ++totals.forwards;
      totals.expert_bytes += expert_bytes(tape, config);

      const Matrix logits = tape.arena.matrix(std::ssize(rows), config.vocab_size);
      model.head_forward(tape, rows, logits);
      const ProfileScope sampling(totals.sampling_seconds);
      int64_t row = 0;
      for (Decoding* decoding : active) {
        const int64_t count = decoding->candidates();
        decoding->count_unique_experts(tape);
        decoding->step(logits.row_range(row, count));
        row += count;
      }
    }
  }
  totals.profile = tape.profile;
  totals.peak_memory = peak_memory();
  if (report) *report = totals;

  std::vector<Generation> results;
  for (Decoding& decoding : decodings) results.push_back(decoding.finish());
  return results;
}

}  // namespace unmask
