#pragma once

#include <cstdint>

#include "unmask/base/bf16.h"

namespace unmask {

// How matrices are multiplied. Storage is f32 everywhere; bf16 rounds both factors to bf16 (to
// nearest even) as they are packed and accumulates in f32, on the bf16 dot instruction where the
// machine has one and with f32 arithmetic on the rounded values where it has not.
enum class Precision { f32, bf16 };

// Bytes of a value that is kept as its factor is multiplied.
constexpr int64_t value_bytes(Precision precision) {
  return precision == Precision::bf16 ? sizeof(bf16) : sizeof(float);
}

}  // namespace unmask
