#pragma once

// What the tests against recordings of the papers' public code share.

#include "tests/routing/plain_router.h"
#include "tests/support/golden.h"
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace unmask::test {

// Recorded results are within 1e-6 of f64 (README of the recordings), ours within a few roundings
// of sums of this many terms.
inline double tolerance(int64_t terms) { return 1e-6 + f32_tolerance(terms) + 16 * kEpsilonF32; }

// What was compared, and by name what was not and why.
class Tally {
 public:
  explicit Tally(std::string name) : kind_(std::move(name)) {}
  ~Tally() {
    std::cout << "golden " << kind_ << ": " << cases << " cases, " << compared
              << " variants compared";
    for (const auto& [reason, count] : others_) std::cout << "; " << count << " not: " << reason;
    std::cout << "\n";
    EXPECT_GT(compared, 0) << kind_;
  }
  void leave_out(const std::string& reason) { ++others_[reason]; }

  int cases = 0, compared = 0;

 private:
  std::string kind_;
  std::map<std::string, int> others_;
};

// The batches of EC-DLM are sequence-major, row s * B + b, ours are one sequence after the other.
struct Rows {
  int64_t batch = 1, length = 1;
  bool sequence_major = false;
  int64_t recorded(int64_t ours) const {
    return sequence_major ? ours % length * batch + ours / length : ours;
  }
  int64_t count() const { return batch * length; }
};

inline Rows rows_of(const nlohmann::json& config) {
  if (config.contains("seq_length")) return {config.at("bsz"), config.at("seq_length"), true};
  return {config.at("bsz"), config.at("seq_len"), false};
}

inline TestMatrix matrix(const GoldenCase& golden, const std::string& name, Rows rows) {
  const auto tensor = golden.f32(name);
  const int64_t cols = std::ssize(tensor.values) / rows.count();
  TestMatrix result(rows.count(), cols);
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t e = 0; e < cols; ++e) result(t, e) = tensor.values[rows.recorded(t) * cols + e];
  }
  return result;
}

inline Map routing_map(const GoldenCase& golden, const std::string& name, Rows rows) {
  const auto tensor = golden.i64(name);
  const int64_t cols = std::ssize(tensor.values) / rows.count();
  Map map = empty_map(rows.count(), cols);
  for (int64_t t = 0; t < rows.count(); ++t) {
    for (int64_t e = 0; e < cols; ++e) map[t][e] = tensor.values[rows.recorded(t) * cols + e] != 0;
  }
  return map;
}

inline Gates doubles(const TestMatrix& matrix) {
  Gates gates(matrix.rows(), std::vector<double>(matrix.cols()));
  for (int64_t t = 0; t < matrix.rows(); ++t) {
    for (int64_t e = 0; e < matrix.cols(); ++e) gates[t][e] = static_cast<double>(matrix(t, e));
  }
  return gates;
}

// The values of the routed pairs, in the order of the slots.
inline std::vector<float> by_slot(const TestMatrix& g, const Assignment& assignment) {
  std::vector<float> values;
  for (int32_t e = 0; e < assignment.experts; ++e) {
    for (const int32_t t : assignment.tokens_of(e)) values.push_back(g(t, e));
  }
  return values;
}

inline RoutedBatch batch_of(Rows rows) {
  RoutedBatch batch;
  for (int64_t b = 0; b < rows.batch; ++b) batch.add_sequence(static_cast<int32_t>(rows.length));
  return batch;
}

}  // namespace unmask::test
