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
  const double cached = precision == Precision::f32 ? sizeof(float) : sizeof(bf16);
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

Work work_of(Model& model, const Tape& tape, int64_t rows, int64_t positions, int64_t logit_rows) {
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

// Fills the cache as decoding does, in whole blocks.
Status prefill(Model& model, const BatchLayout& layout, const StepBenchmark& b, Tape& tape,
               KvCache& cache) {
  constexpr int32_t kRows = 256;
  const int32_t most = std::max(b.tokens, kRows / b.tokens * b.tokens);
  ForwardBatch batch;
  for (int32_t first = 0; first < b.context; first = cache.length()) {
    const int32_t count = std::min(most, b.context - first);
    const auto tokens = random_tokens(model.config(), count, static_cast<uint32_t>(first) << 8);
    const std::vector<uint8_t> masked(tokens.size(), 0);
    batch.clear();
    batch.add_cached(layout, tokens, masked, first, cache);
    batch.finish(layout);
    model.forward(batch.batch(), tape);
    UNMASK_TRY_STATUS(model.check_pass(tape));
    cache.keep(count);
  }
  return {};
}

}  // namespace

Result<StepMeasurement> measure_step(Model& model, const StepBenchmark& b) {
  const ModelConfig& config = model.config();
  if (b.context + b.tokens > config.max_positions) {
    return usage_error("context {} and {} tokens: the model has {} positions", b.context, b.tokens,
                       config.max_positions);
  }
  // Whatever the model was trained with: a step of block decoding.
  BatchLayout layout = decoding_layout(config);
  layout.attention = BatchLayout::Attention::block_causal;
  layout.block_size = b.tokens;
  if (b.context % b.tokens != 0) {
    return usage_error("context {}: expected a multiple of the block's {} tokens", b.context,
                       b.tokens);
  }

  Tape tape;
  tape.mode = Tape::Mode::inference;
  ForwardBatch batch;
  KvCache cache(config, b.context + b.tokens, model.options().precision);
  UNMASK_TRY_STATUS(prefill(model, layout, b, tape, cache));

  // Masked positions of a random model would all be the same row, which chooses the same experts
  // everywhere; in a trained one they differ. So every position gets a token of its own.
  const std::vector<uint8_t> none_masked(static_cast<size_t>(b.tokens), 0);
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < b.tokens; ++i) {
    if (b.head && i % 2 == 1) rows.push_back(i);
  }
  StepMeasurement result;
  result.cache_bytes = cache.bytes();
  result.unique_experts.resize(static_cast<size_t>(config.layers));
  const Buffer memory = memory_beyond_caches();
  std::vector<double> seconds, read_rates, peaks, bf16_peaks, f32_peaks;
  Work work;
  const ExpertCache* const experts = expert_cache_of(model.weights());
  ExpertCache::Counts before;
  for (int32_t step = -1; step < b.steps; ++step) {  // the first one touches memory
    const auto tokens = random_tokens(config, b.tokens, static_cast<uint32_t>(step + 2));
    batch.clear();
    batch.add_cached(layout, tokens, none_masked, b.context, cache);
    batch.finish(layout);
    tape.profile = {};
    const double begin = seconds_now();
    model.forward(batch.batch(), tape);
    if (!rows.empty()) {
      const Matrix logits = tape.arena.matrix(std::ssize(rows), config.vocab_size);
      model.head_forward(tape, rows, logits);
    }
    const double took = seconds_now() - begin;
    UNMASK_TRY_STATUS(model.check_pass(tape));
    if (step < 0) {
      if (experts) before = experts->counts();
      continue;
    }

    seconds.push_back(took);
    const double share = 1.0 / b.steps;
    result.parts.add(tape.profile, share);
    for (size_t i = 0; i < tape.layers.size(); ++i) {
      result.unique_experts[i] +=
          share * static_cast<double>(tape.layers[i].routing.assignment.used_experts());
    }
    work.add(work_of(model, tape, b.tokens, b.context + b.tokens, std::ssize(rows)), share);
    read_rates.push_back(read_rate({memory.data(), memory.size()}));
    peaks.push_back(arithmetic_rate(peak_kernel_of(model.weights())));
    bf16_peaks.push_back(arithmetic_rate(peak_kernel(Precision::bf16)));
    f32_peaks.push_back(arithmetic_rate(peak_kernel(Precision::f32)));
  }
  if (experts) result.experts = experts->counts().since(before);
  result.step = {.seconds = median(seconds),
                 .work = work,
                 .read_bytes_per_second = median(read_rates),
                 .peak = median(peaks),
                 .bf16_peak = median(bf16_peaks),
                 .f32_peak = median(f32_peaks)};
  return result;
}

}  // namespace unmask
