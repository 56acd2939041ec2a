#pragma once

#include "unmask/kernels/attention.h"
#include "unmask/kernels/attention_tiles.h"
#include "unmask/kernels/coming.h"

namespace unmask {

// Neighbouring keys [begin, end) of one kv head and their values, packed.
struct KeyRun {
  int64_t begin, end;
  RowFactor k;     // [keys, d]
  ColumnFactor v;  // [d, keys]

  // Room for them.
  KeyRun(const GemmKernel& kernel, int64_t begin, int64_t end, int64_t d, Arena& arena)
      : begin(begin),
        end(end),
        k(kernel, SequenceTiles(kernel, end - begin), d, arena),
        v(kernel, end - begin, d, arena) {}

  // A whole run, packed in the place of its rows; to be read only.
  template <class T>
  KeyRun(const GemmKernel& kernel, int64_t begin, int64_t d, const T* keys, const T* values)
      : begin(begin),
        end(begin + kKeysPerRun),
        k(kernel, SequenceTiles(kernel, kKeysPerRun), d, words_in(keys)),
        v(kernel, kKeysPerRun, d, words_in(values)) {}

  template <class T>
  void pack(const GemmKernel& kernel, View<const T> keys, View<const T> values) const {
    k.pack(kernel, keys);
    v.pack(kernel, values);
  }

  int64_t tile_begin(int64_t tile) const { return begin + k.tiles.first(tile); }

 private:
  static float* words_in(const void* place) {
    return const_cast<float*>(static_cast<const float*>(place));
  }
};

// The keys and values of the run that follows, brought in equal shares (coming.h).
template <class T>
class ComingRun {
 public:
  // Nothing follows.
  ComingRun() : ComingRun({}, {}, 1) {}
  ComingRun(View<const T> keys, View<const T> values, int64_t shares)
      : keys_(keys, shares), values_(values, shares) {}

  void bring_share() {
    keys_.bring_share();
    values_.bring_share();
  }

 private:
  Coming<T> keys_, values_;
};

}  // namespace unmask
