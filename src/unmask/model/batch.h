#pragma once

#include <cstdint>
#include <span>

#include "unmask/kernels/attention.h"
#include "unmask/model/kv_cache.h"
#include "unmask/routing/router.h"

namespace unmask {

// What one forward pass reads. Rows are tokens, sequences one after the other.
struct Batch {
  std::span<const int32_t> tokens;     // [N] ids, mask token where masked
  std::span<const int32_t> positions;  // [N] for RoPE, below max_positions
  // Who attends to whom: among the rows of the pass, or, in inference, of each sequence to its
  // cache (then `attention` is not looked at, and the sequences cover all rows).
  const AttentionPattern* attention = nullptr;
  std::span<const CachedRows> cached;
  RouteContext route;  // sequence_begin always; expert_bias is set by the model, layer by layer

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
};

}  // namespace unmask
