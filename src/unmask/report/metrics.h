#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

// What a run tells about itself, one line of `metrics.jsonl` per event. docs/metrics.md names every
// field with its unit. A number that was not measured is NaN, in the file `null`.

namespace unmask {

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

struct Machine {
  std::string processor;
  std::string isa;  // the instruction set the kernels picked
  int64_t threads = 0;
  int64_t memory_bytes = 0;
};

// Written when a run starts and again when it is resumed; the last one counts.
struct ConfigEvent {
  std::string version;               // of unmask
  std::string configuration = "{}";  // the whole training configuration, a JSON object
  int64_t parameters = 0;
  int64_t active_parameters = 0;          // that one token passes through
  double flops_per_token = kNotMeasured;  // forward and backward
  Machine machine;
};

// `step`: optimiser steps done. `tokens`: tokens trained on so far. `seconds`: wall-clock of
// training so far, carried over a resume.
struct TrainEvent {
  int64_t step = 0;
  int64_t tokens = 0;
  double seconds = 0;
  double loss = kNotMeasured;  // nats per token, of the objective, without the losses below
  double confidence_loss = 0;  // the confidence term, with its weight
  double switch_loss = 0;      // balance losses as they enter the sum
  double sequence_loss = 0;
  double z_loss = 0;
  double gradient_norm = kNotMeasured;  // before clipping
  double learning_rate = kNotMeasured;
  double tokens_per_second = kNotMeasured;
  double model_flops_per_second = kNotMeasured;
  int64_t memory_bytes = 0;  // resident set
};

struct ValidationEvent {
  int64_t step = 0;
  int64_t tokens = 0;
  double seconds = 0;
  double loss = kNotMeasured;
  double perplexity = kNotMeasured;
  // Bin i of n covers mask ratios (i/n, (i+1)/n]: mean masked loss and the sequences it is made of.
  std::vector<double> bin_loss;
  std::vector<int64_t> bin_count;
  // Loss at fixed mask ratios: level_loss[i] at level_mask_ratio[i].
  std::vector<double> level_mask_ratio;
  std::vector<double> level_loss;
};

// One routed layer, over the tokens of one step.
struct LayerRouting {
  int64_t layer = 0;
  std::vector<int64_t> tokens_per_expert;  // [experts]
  double experts_per_token_mean = kNotMeasured;
  double experts_per_token_min = kNotMeasured;
  double experts_per_token_max = kNotMeasured;
  double experts_per_token_std = kNotMeasured;
  double max_over_mean_load = kNotMeasured;
  double unique_experts = kNotMeasured;            // that got at least one token
  double unique_experts_per_block = kNotMeasured;  // mean over blocks
  double coreset_size = kNotMeasured;              // mean over blocks, of policies with coresets
  double entropy = kNotMeasured;         // of the router's softmax, mean over tokens, nats
  double dropped_share = kNotMeasured;   // of the slots asked for
  double unrouted_share = kNotMeasured;  // tokens that no expert took
};

struct RoutingEvent {
  int64_t step = 0;
  int64_t tokens = 0;
  double seconds = 0;
  std::vector<LayerRouting> layers;
  // Experts per token against mask ratio: one point per sequence of the step, or fewer.
  std::vector<double> mask_ratio;
  std::vector<double> experts_per_token;
};

struct CheckpointEvent {
  int64_t step = 0;
  int64_t tokens = 0;
  double seconds = 0;
  std::string path;   // relative to the run directory
  bool best = false;  // of the validation losses so far
  double seconds_taken = kNotMeasured;
};

struct EndEvent {
  int64_t step = 0;
  int64_t tokens = 0;
  double seconds = 0;
  std::string reason;  // "finished", "interrupted", "diverged: …", "failed: …"
};

// Mean losses of `parts` equal ranges of the mask ratio, from bins by their counts; NaN where
// nothing was measured.
std::vector<double> merge_bins(const ValidationEvent& event, size_t parts);

}  // namespace unmask
