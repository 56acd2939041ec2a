// Included inside the namespace of an instruction set with VNNI, after quantized.inl.h.

namespace {

// Unsigned bytes of weights times signed ones of rows.
struct ByteDot : WholeWordDot {
  using Sum = Bits;
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w[0]), "v"(x[0]));
  }
};

}  // namespace
