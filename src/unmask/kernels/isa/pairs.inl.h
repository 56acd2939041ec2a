// Included inside the namespace of an instruction set, after gemm.inl.h and quantized.inl.h: the
// format of a bf16 dot instruction spelled out in f32, which shows on machines without one that
// the layout of pairs is right.

namespace {

struct SpelledOutPairs {
  static constexpr int kDepth = 2, kWordStep = 1;

  static Bits bits(Vec v) { return as_bits(round_bf16(v)); }
  static Vec join(Bits low, Bits high) { return as_floats(shift_right<16>(low) | high); }
  // Values 2i and 2i + 1 of consecutive ones.
  static Vec along(Vec first, Vec second) {
    Vec even, odd;
    unzip(first, second, even, odd);
    return across(even, odd);
  }
  static Vec across(Vec row, Vec next) { return join(bits(row), bits(next)); }
  static void add_product(Vec& sum, Vec a, Vec b) {
    const Bits x = as_bits(a), y = as_bits(b);
    const auto low = [](Bits v) { return as_floats(shift_left<16>(v)); };
    const auto high = [](Bits v) { return as_floats(upper_halves(v)); };
    sum = sum + low(x) * low(y) + high(x) * high(y);
  }
};

}  // namespace
