#include "unmask/kernels/attention_runs.h"

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/isa/isa.h"

namespace unmask {

static_assert(kReadBehindPacked >= kPackSlack * int64_t{sizeof(float)});

bool packs_in_place(int64_t head_dim, Precision precision) {
  const int64_t bytes = gemm_kernel(precision).words(head_dim) * int64_t{sizeof(float)};
  return !use_reference_kernels() && bytes == head_dim * value_bytes(precision);
}

namespace {

template <class T>
void pack_run(const GemmKernel& kernel, View<T> keys, View<T> values) {
  const int64_t d = keys.cols;
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

}  // namespace

template <class T>
void pack_in_place(HeadTable<T>& keys, HeadTable<T>& values, int64_t rows, Precision precision) {
  UNMASK_CHECK(rows <= keys.rows && keys.packed_rows == values.packed_rows);
  for (const HeadTable<T>& table : {keys, values}) {
    UNMASK_CHECK(table.row_stride == table.head_dim);
  }
  const int64_t begin = keys.packed_rows / kKeysPerRun, count = rows / kKeysPerRun - begin;
  if (count <= 0 || !packs_in_place(keys.head_dim, precision)) return;
  UNMASK_CHECK(int64_t{sizeof(T)} == value_bytes(precision));
  parallel_for(keys.heads * count, [&](int64_t task) {
    const auto run_of = [&](const HeadTable<T>& table) {
      const int64_t row = (begin + task % count) * kKeysPerRun;
      return table.head(task / count).row_range(row, kKeysPerRun);
    };
    pack_run(gemm_kernel(precision), run_of(keys), run_of(values));
  });
  keys.packed_rows = values.packed_rows = (begin + count) * kKeysPerRun;
}

template void pack_in_place(HeadTable<float>&, HeadTable<float>&, int64_t, Precision);
template void pack_in_place(HeadTable<bf16>&, HeadTable<bf16>&, int64_t, Precision);

}  // namespace unmask
