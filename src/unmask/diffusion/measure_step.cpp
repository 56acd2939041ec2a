#include "unmask/diffusion/measure_step.h"

#include <numeric>

#include "unmask/base/clock.h"
#include "unmask/base/random.h"
#include "unmask/diffusion/forward_batch.h"
#include "unmask/kernels/machine.h"
#include "unmask/model/kv_cache.h"
#include "unmask/model/weights.h"

namespace unmask {
namespace {

// Products of `rows` rows with a weight that is read once.

void multiply(ConstMatrix weight, int64_t rows, Work& work) {
  work.bytes += static_cast<double>(weight.size()) * sizeof(float);
  work.f32_operations += 2.0 * static_cast<double>(rows * weight.size());
}

void multiply(const Weight& weight, int64_t rows, Work& work) {
  const auto* packed = std::get_if<QuantizedMatrix>(&weight);
  if (packed == nullptr) return multiply(std::get<ConstMatrix>(weight), rows, work);
  work.bytes += static_cast<double>(packed->shape.bytes());
  work.operations += 2.0 * static_cast<double>(rows * packed->shape.rows * packed->shape.cols);
}

void multiply(const ExpertForm& form, int64_t experts, int64_t rows, Work& work) {
  work.bytes += static_cast<double>(experts * form.bytes());
  work.operations += 2.0 * 3 * static_cast<double>(rows * form.up.rows * form.up.cols);
}

void add_layer(const ModelConfig& config, const ModelWeights::Layer& weights, Precision precision,
               const Assignment& assignment, int64_t rows, int64_t positions, Work& work) {
  multiply(weights.attention.qkv, rows, work);
  multiply(weights.attention.out, rows, work);
  const auto cached = static_cast<double>(value_bytes(precision));
  work.bytes += 2.0 * cached * static_cast<double>(positions * config.kv_heads * config.head_dim);
  (precision == Precision::f32 ? work.f32_operations : work.bf16_operations) +=
      4.0 * static_cast<double>(rows * positions * config.heads * config.head_dim);
  if (!weights.moe.router.empty()) multiply(weights.moe.router, rows, work);
  if (const auto* shared = std::get_if<QuantizedFeedForward>(&weights.moe.shared)) {
    multiply(shared->form, 1, rows, work);
  }
  if (const auto* experts = std::get_if<QuantizedExperts>(&weights.moe.experts)) {
    multiply(experts->form, assignment.used_experts(), assignment.slots(), work);
  } else if (const auto* cached = std::get_if<CachedExperts>(&weights.moe.experts)) {
    multiply(cached->cache->form(), assignment.used_experts(), assignment.slots(), work);
  }
}

Work work_of(const Model& model, const Tape& tape, int64_t rows, int64_t positions,
             int64_t logit_rows) {
  Work work;
  const ModelWeights& weights = model.weights();
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    add_layer(model.config(), weights.layers[i], model.options().precision,
              tape.layers[i].routing.assignment, rows, positions, work);
  }
  if (logit_rows > 0) multiply(weights.head, logit_rows, work);
  return work;
}

const PeakKernel& peak_kernel_of(const ModelWeights& weights) {
  const auto* qkv = std::get_if<QuantizedMatrix>(&weights.layers[0].attention.qkv);
  return qkv && qkv->shape.integers() ? int8_peak_kernel() : peak_kernel(Precision::bf16);
}

std::vector<int32_t> random_tokens(const ModelConfig& config, int32_t count, uint32_t draw) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(random_below({2, Purpose::synthetic},
                                                       static_cast<uint64_t>(config.vocab_size),
                                                       static_cast<uint64_t>(i), draw)));
  }
  return tokens;
}

// Passes of random tokens against a cache, as block decoding makes them.
class RandomBlocks {
 public:
  RandomBlocks(Model& model, const StepBenchmark& b)
      : model_(model),
        b_(b),
        layout_(decoding_layout(model.config())),
        cache_(model.config(), b.context + b.tokens, model.options().precision) {
    // Whatever the model was trained with.
    layout_.attention = BatchLayout::Attention::block_causal;
    layout_.block_size = b.tokens;
    tape_.mode = Tape::Mode::inference;
    for (int32_t i = 1; b.head && i < b.tokens; i += 2) logit_rows_.push_back(i);
  }

  // Fills the cache in whole blocks.
  Status prefill() {
    constexpr int32_t kRows = 256;
    const int32_t most = std::max(b_.tokens, kRows / b_.tokens * b_.tokens);
    for (int32_t first = 0; first < b_.context; first = cache_.length()) {
      const int32_t count = std::min(most, b_.context - first);
      prepare(count, static_cast<uint32_t>(first) << 8);
      model_.forward(batch_.batch(), tape_);
      UNMASK_TRY_STATUS(model_.check_pass(tape_));
      cache_.keep(count);
    }
    return {};
  }

  // Denoises a block behind the context, with logits for half of it; the seconds that took.
  Result<double> step(int32_t number) {
    prepare(b_.tokens, static_cast<uint32_t>(number + 2));
    tape_.profile = {};
    const double begin = seconds_now();
    model_.forward(batch_.batch(), tape_);
    if (!logit_rows_.empty()) {
      const Matrix logits = tape_.arena.matrix(std::ssize(logit_rows_), model_.config().vocab_size);
      model_.head_forward(tape_, logit_rows_, logits);
    }
    const double seconds = seconds_now() - begin;
    UNMASK_TRY_STATUS(model_.check_pass(tape_));
    return seconds;
  }

  Work work() const {
    return work_of(model_, tape_, b_.tokens, b_.context + b_.tokens, std::ssize(logit_rows_));
  }
  const Tape& tape() const { return tape_; }
  int64_t cache_bytes() const { return cache_.bytes(); }

 private:
  // Masked positions of a random model would all be the same row, which chooses the same experts
  // everywhere; in a trained one they differ. So every position gets a token of its own.
  void prepare(int32_t count, uint32_t draw) {
    const std::vector<int32_t> tokens = random_tokens(model_.config(), count, draw);
    const std::vector<uint8_t> masked(tokens.size(), 0);
    batch_.clear();
    batch_.add_cached(layout_, tokens, masked, cache_.length(), cache_);
    batch_.finish(layout_);
  }

  Model& model_;
  const StepBenchmark& b_;
  BatchLayout layout_;
  KvCache cache_;
  Tape tape_;
  ForwardBatch batch_;
  std::vector<int32_t> logit_rows_;
};

// What the machine gives beside each step.
struct Rates {
  const PeakKernel& of_weights;
  Buffer memory = memory_beyond_caches();
  std::vector<double> read = {}, peak = {}, bf16_peak = {}, f32_peak = {};

  void measure() {
    read.push_back(read_rate({memory.data(), memory.size()}));
    peak.push_back(arithmetic_rate(of_weights));
    bf16_peak.push_back(arithmetic_rate(peak_kernel(Precision::bf16)));
    f32_peak.push_back(arithmetic_rate(peak_kernel(Precision::f32)));
  }
};

}  // namespace

Result<StepMeasurement> measure_step(Model& model, const StepBenchmark& b) {
  const ModelConfig& config = model.config();
  if (b.context + b.tokens > config.max_positions) {
    return usage_error(
        "context {} and {} tokens: the model has {} positions; give a shorter --context", b.context,
        b.tokens, config.max_positions);
  }
  if (b.context % b.tokens != 0) {
    return usage_error("context {}: expected a multiple of the block's {} tokens", b.context,
                       b.tokens);
  }
  RandomBlocks blocks(model, b);
  UNMASK_TRY_STATUS(blocks.prefill());
  UNMASK_TRY_STATUS(blocks.step(-1));  // touches memory for the first time

  StepMeasurement result;
  result.cache_bytes = blocks.cache_bytes();
  result.unique_experts.resize(static_cast<size_t>(config.layers));
  const ExpertCache* const experts = expert_cache_of(model.weights());
  const ExpertCache::Counts before = experts ? experts->counts() : ExpertCache::Counts();
  Rates rates{peak_kernel_of(model.weights())};
  std::vector<double> seconds;
  Work work;
  const double share = 1.0 / b.steps;
  for (int32_t step = 0; step < b.steps; ++step) {
    UNMASK_TRY(const double taken, blocks.step(step));
    seconds.push_back(taken);
    result.parts.add(blocks.tape().profile, share);
    for (size_t i = 0; i < result.unique_experts.size(); ++i) {
      const Assignment& assignment = blocks.tape().layers[i].routing.assignment;
      result.unique_experts[i] += share * assignment.used_experts();
    }
    work.add(blocks.work(), share);
    rates.measure();
  }
  if (experts) result.experts = experts->counts().since(before);
  result.step = {.seconds = median(seconds),
                 .work = work,
                 .read_bytes_per_second = median(rates.read),
                 .peak = median(rates.peak),
                 .bf16_peak = median(rates.bf16_peak),
                 .f32_peak = median(rates.f32_peak)};
  return result;
}

}  // namespace unmask
