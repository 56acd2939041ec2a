#pragma once

#include <cstdint>

#include "unmask/base/random.h"

namespace unmask {

// A seeded permutation of [0, count) without a table: a Feistel network over the next power of
// four, repeated until it lands inside (cycle walking; Black and Rogaway, "Ciphers with Arbitrary
// Finite Domains", CT-RSA 2002). Four steps on average at most.
class Permutation {
 public:
  Permutation(int64_t count, RandomKey key, uint32_t epoch);
  int64_t operator()(int64_t index) const;  // 0 <= index < count

 private:
  uint64_t encipher(uint64_t value) const;

  uint64_t count_;
  RandomKey key_;
  uint32_t epoch_;
  uint32_t half_bits_ = 0;
};

}  // namespace unmask
