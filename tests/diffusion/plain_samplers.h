#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "unmask/diffusion/sampler.h"

// The table of docs/decoding.md as plain loops in f64, greedy, for tests.
namespace unmask::test {

// Logits of masked positions, ascending; the mask token's is -inf already.
struct PlainStep {
  std::vector<int32_t> positions;
  std::vector<std::vector<double>> logits;  // [positions][vocab]
  int32_t quota = 1;
};

inline std::vector<double> softmax(const std::vector<double>& z) {
  double sum = 0;
  for (const double value : z) sum += std::exp(value);
  std::vector<double> p;
  for (const double value : z) p.push_back(std::exp(value) / sum);
  return p;
}

inline int32_t argmax(const std::vector<double>& values) {
  int32_t best = 0;
  for (size_t v = 1; v < values.size(); ++v) {
    if (values[v] > values[best]) best = static_cast<int32_t>(v);
  }
  return best;
}

inline double entropy(const std::vector<double>& z) {
  double h = 0;
  for (const double p : softmax(z)) h -= p > 0 ? p * std::log(p) : 0.0;
  return h;
}

inline double margin(const std::vector<double>& z) {
  std::vector<double> p = softmax(z);
  std::sort(p.rbegin(), p.rend());
  return p[0] - p[1];
}

// C of the credit sampler, dense.
using PlainCredit = std::map<std::pair<int32_t, int32_t>, double>;  // (position, token)

// The committed positions with their tokens. `draw`: the random sampler's number for a position.
template <class Draw>
std::map<int32_t, int32_t> plain_choose(const std::string& policy, PlainStep step,
                                        PlainCredit& credit, Draw&& draw) {
  const size_t m = step.positions.size();
  if (policy == "credit") {
    for (auto& [where, amount] : credit) amount *= 0.8;
    for (size_t i = 0; i < m; ++i) {
      const int32_t best = argmax(step.logits[i]);
      credit[{step.positions[i], best}] += std::pow(softmax(step.logits[i])[best], 0.2);
      for (size_t v = 0; v < step.logits[i].size(); ++v) {
        const auto found = credit.find({step.positions[i], static_cast<int32_t>(v)});
        if (found != credit.end()) step.logits[i][v] += 0.7 * std::log(1 + found->second);
      }
    }
  }
  std::vector<double> c, key;
  for (size_t i = 0; i < m; ++i) {
    c.push_back(softmax(step.logits[i])[argmax(step.logits[i])]);
    key.push_back(policy == "low-entropy" || policy == "entropy-bounded" ? -entropy(step.logits[i])
                  : policy == "margin"                                   ? margin(step.logits[i])
                  : policy == "sequential"                               ? -step.positions[i]
                  : policy == "random"                                   ? draw(step.positions[i])
                                                                         : c.back());
  }
  std::vector<size_t> best_first;
  for (size_t i = 0; i < m; ++i) best_first.push_back(i);
  std::stable_sort(best_first.begin(), best_first.end(),
                   [&](size_t a, size_t b) { return key[a] > key[b]; });
  const double most = *std::max_element(c.begin(), c.end());

  std::set<size_t> chosen = {best_first[0]};
  const auto quota = std::min(m, static_cast<size_t>(step.quota));
  if (policy == "factor") {
    for (size_t n = 1; n <= m; ++n) {
      if (c[best_first[n - 1]] < 1 - 1.0 / static_cast<double>(n + 1)) break;
      chosen.insert(best_first[n - 1]);
    }
  } else if (policy == "entropy-bounded") {
    double sum = 0;
    for (const size_t i : best_first) {
      sum += entropy(step.logits[i]);
      if (sum > 0.35) break;
      chosen.insert(i);
    }
  } else if (policy == "threshold-max") {
    for (size_t i = 0; i < m; ++i) {
      if (c[i] >= std::min(0.9, most - 1e-5)) chosen.insert(i);
    }
  } else if (policy == "hierarchical") {
    for (size_t i = 0; i < m; ++i) {
      if (c[i] > 0.9) chosen.insert(i);
      // The best of its run: none in either direction, without a gap, is better, or as good before.
      bool best = c[i] > 0.4;
      for (size_t j = i; j > 0 && step.positions[j - 1] + 1 == step.positions[j]; --j) {
        best = best && c[j - 1] < c[i];
      }
      for (size_t j = i; j + 1 < m && step.positions[j + 1] == step.positions[j] + 1; ++j) {
        best = best && c[j + 1] <= c[i];
      }
      if (best) chosen.insert(i);
    }
  } else {
    const bool thresholded = policy == "threshold" || policy == "credit" || policy == "editing";
    for (size_t i = 0; i < m && thresholded; ++i) {
      if (c[i] > 0.95) chosen.insert(i);
    }
    if (chosen.size() < quota) chosen.insert(best_first.begin(), best_first.begin() + quota);
  }
  std::map<int32_t, int32_t> commits;
  for (const size_t i : chosen) {
    commits[step.positions[i]] = argmax(step.logits[i]);
    std::erase_if(credit, [&](const auto& e) { return e.first.first == step.positions[i]; });
  }
  return commits;
}

}  // namespace unmask::test
