#pragma once

#include <cstdint>
#include <span>

namespace unmask {

// Whether no value is NaN or infinite, at memory bandwidth.
bool all_finite(std::span<const float> values);

// Index of the first NaN or infinity, -1 when there is none.
int64_t first_non_finite(std::span<const float> values);

}  // namespace unmask
