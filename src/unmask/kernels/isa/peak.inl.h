// Included inside the namespace of an instruction set, after gemm.inl.h: arithmetic without
// memory, to measure what the machine could do.

namespace {

// Runs `steps` times 12 independent multiply-adds of a format and returns something of the sum.
template <class Format>
float run_arithmetic(int64_t steps) {
  constexpr int kChains = 12;  // hides the latency of 4 cycles on two ports
  Vec sum[kChains];
  unrolled<kChains>([&](auto c) UNMASK_INLINE { sum[c] = zero(); });
  Vec a = broadcast(1e-3f), b = broadcast(0.5f);
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));  // or the loop would be hoisted away
    unrolled<kChains>([&](auto c) UNMASK_INLINE { Format::add_product(sum[c], a, b); });
  }
  Vec total = zero();
  unrolled<kChains>([&](auto c) UNMASK_INLINE { total = total + sum[c]; });
  return total[0];
}

template <class Format>
constexpr PeakKernel peak_of() {
  // Every multiply-add is two operations for each value of k in each lane.
  return {&run_arithmetic<Format>, 12.0 * 2 * kLanes * Format::kDepth};
}

}  // namespace
