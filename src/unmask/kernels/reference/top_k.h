#pragma once

#include <cstdint>
#include <span>

// The plain twin of kernels/top_k.h: a stable sort.
namespace unmask::reference {

void top_k_keys(std::span<const int32_t> keys, std::span<int32_t> chosen);

}  // namespace unmask::reference
