#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace unmask {

// What has to be read and computed.
struct Work {
  double bytes = 0;            // of weights, scales, keys and values
  double operations = 0;       // of the format's arithmetic, two for each multiply-add
  double bf16_operations = 0;  // of what is computed in bf16 in any format
  double f32_operations = 0;   // … and in f32

  void add(const Work& more, double share) {
    bytes += share * more.bytes;
    operations += share * more.operations;
    bf16_operations += share * more.bf16_operations;
    f32_operations += share * more.f32_operations;
  }
};

// What something took, and what the machine gave in the same minute: medians of measurements that
// took turns.
struct Measurement {
  double seconds = 0;
  Work work;
  double read_bytes_per_second = 0;  // streamed from memory
  double peak = 0;                   // operations per second
  double bf16_peak = 0;
  double f32_peak = 0;

  double memory_seconds() const { return work.bytes / read_bytes_per_second; }
  double compute_seconds() const {
    const auto seconds = [](double count, double rate) { return count > 0 ? count / rate : 0; };
    return seconds(work.operations, peak) + seconds(work.bf16_operations, bf16_peak) +
           seconds(work.f32_operations, f32_peak);
  }
  double floor_seconds() const { return std::max(memory_seconds(), compute_seconds()); }
};

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace unmask
