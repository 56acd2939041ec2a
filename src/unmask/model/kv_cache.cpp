#include "unmask/model/kv_cache.h"

#include <algorithm>

namespace unmask {

KvCache::KvCache(const ModelConfig& config, int32_t capacity)
    : columns_(int64_t{config.kv_heads} * config.head_dim), capacity_(capacity) {
  UNMASK_CHECK(capacity > 0);
  const int64_t tables = int64_t{2} * config.layers;
  memory_ = Buffer(static_cast<size_t>(tables * capacity * columns_) * sizeof(float));
}

Matrix KvCache::table(int64_t index) const {
  return Matrix(memory_.as<float>() + index * capacity_ * columns_, capacity_, columns_);
}

void KvCache::keep(int32_t rows) {
  UNMASK_CHECK(rows >= 0 && rows <= capacity_ - length_);
  length_ += rows;
}

void block_causal_attention_from(int32_t first, int32_t end, int32_t block,
                                 AttentionPattern& pattern) {
  UNMASK_CHECK(block > 0 && 0 <= first && first < end);
  pattern.clear();
  for (int32_t begin = first; begin < end;) {
    const int32_t block_end = std::min((begin / block + 1) * block, end);
    const auto range = static_cast<int32_t>(pattern.ranges.size());
    pattern.ranges.push_back({0, block_end});
    pattern.spans.push_back({begin - first, block_end - first, range, range + 1});
    begin = block_end;
  }
  pattern.groups.push_back({0, static_cast<int32_t>(pattern.spans.size()), 0, end});
}

}  // namespace unmask
