#include "unmask/kernels/attention_runs.h"

#include <algorithm>

#include "unmask/kernels/isa/isa.h"

namespace unmask {

bool packs_in_place(int64_t head_dim, Precision precision) {
  const int64_t words = gemm_kernel(precision).words(head_dim);
  const int64_t width = precision == Precision::bf16 ? sizeof(bf16) : sizeof(float);
  return !use_reference_kernels() && words * int64_t{sizeof(float)} == head_dim * width;
}

template <class T>
void pack_in_place(View<T> keys, View<T> values, Precision precision) {
  const int64_t d = keys.cols;
  for (const View<T>& place : {keys, values}) {
    UNMASK_CHECK(place.rows == kKeysPerRun && place.cols == d && place.stride == d);
  }
  UNMASK_CHECK(packs_in_place(d, precision));
  const GemmKernel& kernel = gemm_kernel(precision);
  const ArenaScope scope(thread_scratch());
  const KeyRun packed(kernel, 0, kKeysPerRun, d, thread_scratch());
  packed.pack<T>(kernel, keys, values);
  const KeyRun place(kernel, 0, d, keys.data, values.data);
  std::copy_n(packed.k.data, kKeysPerRun * packed.k.words, place.k.data);
  for (int64_t tile = 0; tile < packed.v.count; ++tile) {
    std::copy_n(packed.v.at(tile, 0), packed.v.width_of(tile) * packed.v.words,
                place.v.at(tile, 0));
  }
}

template void pack_in_place(View<float>, View<float>, Precision);
template void pack_in_place(View<bf16>, View<bf16>, Precision);

}  // namespace unmask
