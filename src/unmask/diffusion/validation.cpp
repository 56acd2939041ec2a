#include "unmask/diffusion/validation.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace unmask {
namespace {

// One loss to be measured: a sequence at a mask probability.
struct Measurement {
  int64_t sequence = 0;
  uint32_t draw = 0;  // which mask of the sequence
  float t = 0;
  int32_t level = -1;
};

// Point j of the additive golden-ratio sequence in (0, 1).
float stratified_ratio(int64_t j) {
  const double point = (static_cast<double>(j) + 0.5) * (std::numbers::phi - 1.0);
  return static_cast<float>(point - std::floor(point));
}

std::vector<Measurement> plan(const CleanBatch& sequences, const ValidationOptions& options) {
  std::vector<Measurement> measurements;
  if (options.levels.empty()) {
    for (int64_t b = 0; b < sequences.sequences(); ++b) {
      for (int32_t draw = 0; draw < options.draws; ++draw) {
        const int64_t j = (sequences.first_sequence + b) * options.draws + draw;
        measurements.push_back({b, static_cast<uint32_t>(draw), stratified_ratio(j), -1});
      }
    }
    return measurements;
  }
  // All levels share one draw: what is masked at a low level is masked at the higher ones too.
  for (size_t level = 0; level < options.levels.size(); ++level) {
    for (int64_t b = 0; b < sequences.sequences(); ++b) {
      measurements.push_back({b, 0, options.levels[level], static_cast<int32_t>(level)});
    }
  }
  return measurements;
}

int32_t bin_of(int64_t masked, int64_t length) {  // (i/kBins, (i+1)/kBins], in integers
  return static_cast<int32_t>((masked * ValidationLoss::kBins - 1) / length);
}

}  // namespace

double ValidationLoss::perplexity() const { return std::exp(loss()); }

std::vector<MeanLoss> ValidationLoss::coarse_bins(int32_t count) const {
  UNMASK_CHECK(count > 0 && kBins % count == 0);
  std::vector<MeanLoss> coarse(static_cast<size_t>(count));
  for (int32_t i = 0; i < kBins; ++i) {
    MeanLoss& bin = coarse[i / (kBins / count)];
    bin = bin + bins[i];
  }
  return coarse;
}

ValidationLoss validation_loss(Model& model, const BatchLayout& layout, const CleanBatch& sequences,
                               const ValidationOptions& options, Tape& tape) {
  UNMASK_CHECK(options.draws > 0 && options.batch_sequences > 0);
  const RandomKey key{options.seed, Purpose::validation};
  const std::vector<Measurement> measurements = plan(sequences, options);

  ValidationLoss result;
  result.bins.resize(ValidationLoss::kBins);
  result.levels = options.levels;
  result.level_loss.resize(options.levels.size());

  RoutingCollector routing(model.config());
  PreparedBatch prepared;
  std::vector<uint8_t> masked;
  const auto total = static_cast<int64_t>(measurements.size());
  for (int64_t begin = 0; begin < total; begin += options.batch_sequences) {
    if (options.cancel && options.cancel->load()) break;
    const int64_t end = std::min<int64_t>(begin + options.batch_sequences, total);
    prepared.clear();
    for (int64_t i = begin; i < end; ++i) {
      const Measurement& m = measurements[i];
      masked.resize(static_cast<size_t>(sequences.length(m.sequence)));
      mask_positions(m.t, key, static_cast<uint64_t>(sequences.first_sequence + m.sequence), m.draw,
                     sequences.prompt(m.sequence), sequences.length(m.sequence), masked);
      prepared.add(layout, sequences.sequence(m.sequence), masked);
    }
    prepared.finish(layout);
    measure_loss(model, prepared, tape);
    routing.add(prepared.forward.batch().route, tape);

    for (int64_t i = begin; i < end; ++i) {
      const Measurement& m = measurements[i];
      const std::span<const float> losses = prepared.losses_of(i - begin);
      if (losses.empty()) continue;  // nothing but prompt
      const auto count = static_cast<int64_t>(losses.size());
      const double loss =
          std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(count);
      result.all.add(loss);
      result.bins[bin_of(count, sequences.length(m.sequence))].add(loss);
      if (m.level >= 0) result.level_loss[m.level].add(loss);
      result.masked_tokens += count;
    }
  }
  result.routing = routing.layers();
  return result;
}

}  // namespace unmask
