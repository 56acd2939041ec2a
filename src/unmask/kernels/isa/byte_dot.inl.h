// Included inside the namespace of an instruction set with VNNI, after quantized.inl.h.

namespace {

// Unsigned bytes of weights times signed ones of rows.
struct ByteDot {
  using Sum = Bits;
  static constexpr int kRowWords = 1, kWords = 1, kAtOnce = 1;
  static void split(Bits v, int /*i*/, Bits* w) { w[0] = v; }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w[0]), "v"(x[0]));
  }
};

}  // namespace
