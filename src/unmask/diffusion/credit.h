#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

namespace unmask {

// How often, how surely and how lately each position has preferred each token: the memory of credit
// decoding, of one request. Only preferred tokens have an entry, at most one more in each step.
class Credit {
 public:
  // C <- decay C, everywhere.
  void decay(float factor);
  // C[position, token] += amount.
  void add(int32_t position, int32_t token, float amount);
  // z + weight log(1 + C[position]).
  void raise(int32_t position, float weight, std::span<float> logits) const;
  // What is decided needs no credit.
  void forget(int32_t position);

 private:
  std::map<int32_t, std::vector<std::pair<int32_t, float>>> credit_;  // position -> (token, C)
};

}  // namespace unmask
