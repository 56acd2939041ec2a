#include "unmask/text/permutation.h"

#include <algorithm>
#include <bit>

#include "unmask/base/check.h"

namespace unmask {

Permutation::Permutation(int64_t count, RandomKey key, uint32_t epoch)
    : count_(static_cast<uint64_t>(count)), key_(key), epoch_(epoch) {
  UNMASK_CHECK(count > 0);
  half_bits_ = std::max(1u, static_cast<uint32_t>(std::bit_width(count_ - 1) + 1) / 2);
}

uint64_t Permutation::encipher(uint64_t value) const {
  constexpr uint32_t kRounds = 8;  // more than the proofs' four, as small halves mix slowly
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_;
  uint64_t right = value & mask;
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint64_t mixed = left ^ (random_bits(key_, right, epoch_, round)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t index) const {
  auto value = static_cast<uint64_t>(index);
  UNMASK_CHECK(value < count_);
  do {
    value = encipher(value);
  } while (value >= count_);
  return static_cast<int64_t>(value);
}

}  // namespace unmask
