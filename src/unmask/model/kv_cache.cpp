#include "unmask/model/kv_cache.h"

#include "unmask/base/parallel.h"
#include "unmask/kernels/elementwise.h"

namespace unmask {

KvCache::KvCache(const ModelConfig& config, int32_t capacity, Precision precision)
    : precision_(precision),
      layers_(config.layers),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity) {
  UNMASK_CHECK(capacity > 0);
  memory_ = Buffer(static_cast<size_t>(bytes()) + kReadBehindPacked);
}

int64_t KvCache::bytes() const {
  return int64_t{2} * layers_ * kv_heads_ * capacity_ * head_dim_ * value_bytes(precision_);
}

void KvCache::write(int32_t layer, int32_t first, ConstMatrix k, ConstMatrix v) {
  UNMASK_CHECK(first >= packed_ && first + k.rows <= capacity_ && v.rows == k.rows);
  precision_ == Precision::bf16 ? write_as<bf16>(layer, first, k, v)
                                : write_as<float>(layer, first, k, v);
}

// A task for each head, as attention has: the same threads then find the rows in their caches.
template <class T>
void KvCache::write_as(int32_t layer, int32_t first, ConstMatrix k, ConstMatrix v) {
  const HeadTable<T> keys = table<T>(2 * layer), values = table<T>(2 * layer + 1);
  parallel_for(kv_heads_, [&](int64_t head) {
    const auto rows_of = [&](const HeadTable<T>& to) {
      return to.head(head).row_range(first, k.rows);
    };
    const auto head_of = [&](ConstMatrix from) {
      return from.col_range(head * head_dim_, head_dim_);
    };
    convert(head_of(k), rows_of(keys));
    convert(head_of(v), rows_of(values));
  });
}

void KvCache::keep(int32_t rows) {
  UNMASK_CHECK(rows >= 0 && rows <= capacity_ - length_);
  length_ += rows;
  precision_ == Precision::bf16 ? pack_kept<bf16>() : pack_kept<float>();
}

template <class T>
void KvCache::pack_kept() {
  int64_t packed = packed_;
  for (int64_t layer = 0; layer < layers_; ++layer) {
    HeadTable<T> keys = table<T>(2 * layer), values = table<T>(2 * layer + 1);
    pack_in_place(keys, values, length_, precision_);
    packed = keys.packed_rows;
  }
  packed_ = static_cast<int32_t>(packed);
}

}  // namespace unmask
