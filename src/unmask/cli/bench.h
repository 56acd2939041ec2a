#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/checkpoint/packed_layout.h"
#include "unmask/cli/commands.h"
#include "unmask/kernels/measurement.h"

namespace unmask::cli {

void add_bench_moe(CLI::App& bench, Run& run);
void add_bench_layer(CLI::App& bench, Run& run);
void add_bench_decode(CLI::App& bench, Run& run);

// What every benchmark has.
struct BenchFlags {
  std::string shape = "llada2-mini";
  WeightFormat format = WeightFormat::int8;
  std::optional<int32_t> group;
  int32_t tokens = 32;
  bool json = false;

  void add_to(CLI::App& command);
};

// One line that says what it took beside the floor, and one that says what the floor is.
std::string measurement_text(const Measurement& m);
// The same as keys: ms, floor_ms, to_floor, bytes, flops, and what the machine gave.
nlohmann::json measurement_json(const Measurement& m);

}  // namespace unmask::cli
