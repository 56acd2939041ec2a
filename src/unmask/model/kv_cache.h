#pragma once

#include <cstdint>

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/attention.h"
#include "unmask/model/config.h"

namespace unmask {

// Keys (after norm and RoPE) and values of the positions of one request, for every layer. It
// belongs to its request and ends with it.
//
// A pass (CachedRows) writes the keys and values of its own rows at their positions, because its
// queries attend to them too, and nothing is copied. Where later tokens do not change earlier keys
// (block-causal attention), a pass stands behind the kept positions, and what it writes is kept
// only when `keep` says that the tokens are final; else the next pass writes over it: so a block is
// denoised against the cache without being stored in it. With attention to the whole canvas the
// rows of a pass may stand anywhere, and attend to what earlier passes left of the others.
class KvCache {
 public:
  KvCache() = default;
  KvCache(const ModelConfig& config, int32_t capacity);

  int32_t capacity() const { return capacity_; }
  int32_t length() const { return length_; }  // positions kept: 0..length - 1
  int64_t bytes() const { return static_cast<int64_t>(memory_.size()); }

  // [capacity, kv_heads head_dim]; row = position.
  Matrix keys(int32_t layer) const { return table(2 * layer); }
  Matrix values(int32_t layer) const { return table(2 * layer + 1); }

  // The first `rows` of what the last pass wrote are final.
  void keep(int32_t rows);

 private:
  Matrix table(int64_t index) const;

  Buffer memory_;  // zero at first: attention asks that rows it skips be finite
  int64_t columns_ = 0;
  int32_t capacity_ = 0;
  int32_t length_ = 0;
};

// One sequence of a pass that attends to a cache: its rows stand at the positions
// first, first + 1, ...
struct CachedRows {
  KvCache* cache = nullptr;
  int32_t row_begin = 0, row_end = 0;  // of the pass
  int32_t first = 0;                   // at least cache->length(): what is kept stays
  // Queries count from row_begin, keys are positions.
  AttentionPattern attention;
};

// Queries at the positions [first, end) in blocks aligned to position 0: each attends to every
// position up to the end of its block. Replaces what `pattern` held.
void block_causal_attention_from(int32_t first, int32_t end, int32_t block,
                                 AttentionPattern& pattern);

}  // namespace unmask
