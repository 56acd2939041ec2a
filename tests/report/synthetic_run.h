#pragma once

#include <cstdint>
#include <string>

namespace unmask {

// A run that never was, with curves like those of a real one.
struct SyntheticRun {
  std::string name = "expert-choice";
  bool expert_choice = true;
  bool linear_reverse = true;  // capacity of expert choice, else constant
  int64_t steps = 2000;
  int64_t layers = 8;
  int64_t experts = 32;
  double final_loss = 2.9;
  double tokens_per_second = 21000;
  uint64_t seed = 1;
  int64_t validation_every = 100;
  int64_t routing_every = 50;
  bool samples = true;
  bool ended = true;
};

// Writes metrics.jsonl and samples.jsonl into a new directory.
void write_synthetic_run(const std::string& directory, const SyntheticRun& run);

}  // namespace unmask
