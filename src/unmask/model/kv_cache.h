#pragma once

#include <cstdint>

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/attention.h"
#include "unmask/kernels/precision.h"
#include "unmask/model/config.h"

namespace unmask {

// Keys (after norm and RoPE) and values of the positions of one request, for every layer. It
// belongs to its request and ends with it. The rows of a head follow each other, as attention reads
// them; for the precision bf16 they are kept as bf16, to which attention would round them. What is
// kept is packed for attention's products, kKeysPerRun rows at a time.
//
// A pass (CachedRows) writes the keys and values of its own rows at their positions, because its
// queries attend to them too. Where later tokens do not change earlier keys (block-causal
// attention), a pass stands behind the kept positions, and what it writes is kept only when `keep`
// says that the tokens are final; else the next pass writes over it: so a block is denoised against
// the cache without being stored in it. With attention to the whole canvas the rows of a pass may
// stand anywhere, and attend to what earlier passes left of the others.
class KvCache {
 public:
  KvCache() = default;
  KvCache(const ModelConfig& config, int32_t capacity, Precision precision);

  int32_t capacity() const { return capacity_; }
  int32_t length() const { return length_; }  // positions kept: 0..length - 1
  int64_t bytes() const;

  // k, v [rows, kv_heads head_dim]: those of the positions first, first + 1, ...
  void write(int32_t layer, int32_t first, ConstMatrix k, ConstMatrix v);

  // body(keys, values), each a HeadTable whose row is the position.
  template <class Body>
  void with_heads(int32_t layer, Body body) const {
    if (precision_ == Precision::bf16) {
      body(table<const bf16>(2 * layer), table<const bf16>(2 * layer + 1));
    } else {
      body(table<const float>(2 * layer), table<const float>(2 * layer + 1));
    }
  }

  // The first `rows` of what the last pass wrote are final.
  void keep(int32_t rows);

 private:
  template <class T>
  void write_as(int32_t layer, int32_t first, ConstMatrix k, ConstMatrix v);
  template <class T>
  void pack_kept();
  template <class T>
  HeadTable<T> table(int64_t index) const {
    const int64_t size = int64_t{capacity_} * head_dim_;
    return {memory_.as<T>() + index * kv_heads_ * size,
            kv_heads_,
            capacity_,
            head_dim_,
            size,
            head_dim_,
            packed_};
  }

  // Keys, then values of each layer: [kv_heads, capacity, head_dim]. Zero at first: attention asks
  // that rows it skips be finite.
  Buffer memory_;
  Precision precision_ = Precision::f32;
  int32_t layers_ = 0, kv_heads_ = 0, head_dim_ = 0;
  int32_t capacity_ = 0;
  int32_t length_ = 0;
  int32_t packed_ = 0;  // of the positions kept
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

}  // namespace unmask
