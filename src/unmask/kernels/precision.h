#pragma once

namespace unmask {

// How matrices are multiplied. Storage is f32 everywhere; bf16 rounds both factors to bf16 (to
// nearest even) as they are packed and accumulates in f32, on the bf16 dot instruction where the
// machine has one and with f32 arithmetic on the rounded values where it has not.
enum class Precision { f32, bf16 };

}  // namespace unmask
