// Included inside the namespace of an instruction set, after bits.inl.h: products of words that
// hold several values.

namespace {

// How weights meet activations. A word of a row is kept as `kRowWords` words; in each step `kWords`
// of those meet a word of weights, `kAtOnce` at a time: `split` gives what of the weights meets
// words i … i + kAtOnce - 1. Sums are added to in place: from intrinsics GCC 12 copies every
// accumulator in every step.

// bf16 in f32 arithmetic, exact products: the lower value, then the upper.
struct SpelledOutBf16 {
  using Sum = Vec;
  static constexpr int kRowWords = 2, kWords = 2, kAtOnce = 1;
  static void split(Bits v, int i, Bits* w) { w[0] = i == 0 ? shift_left<16>(v) : upper_halves(v); }
  static void split_row(Bits v, Bits* x) {
    for (int i = 0; i < kRowWords; ++i) split(v, i, x + i);
  }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(as_floats(x[0])), "v"(as_floats(w[0])));
  }
};

// Bytes in 16-bit arithmetic, exact: bytes 0 and 2 of each word, then 1 and 3. (The byte products
// of AVX2 add pairs in 16 bits, which 255 * 127 * 2 does not fit.)
struct ByteHalves {
  using Sum = Bits;
  static constexpr int kRowWords = 2, kWords = 2, kAtOnce = 1;
  static void split(Bits v, int i, Bits* w) {
    w[0] = i == 0 ? masked<0x00ff00ff>(v) : shift_right_unsigned_16<8>(v);
  }
  static void split_row(Bits v, Bits* x) {
    x[0] = shift_right_16<8>(shift_left_16<8>(v));
    x[1] = shift_right_16<8>(v);
  }
  static void add(Sum& sum, const Bits* w, const Bits* x) { add_pairs(sum, w[0], x[0]); }
};

// Halves of bytes in the byte products of AVX2, exact: 15 * 127 * 4 fits 16 bits. The lower halves
// meet one word of the row, the upper ones the next.
struct HalfByteProducts {
  using Sum = Bits;
  static constexpr int kRowWords = 1, kWords = 2, kAtOnce = 2;
  static void split(Bits v, int /*i*/, Bits* w) {
    w[0] = masked<0x0f0f0f0f>(v);
    w[1] = masked<0x0f0f0f0f>(shift_right<4>(v));
  }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    const Bits pairs = add_16(byte_pairs(w[0], x[0]), byte_pairs(w[1], x[1]));
    add_pairs(sum, pairs, word(0x00010001));
  }
};

// What a dot instruction takes as it is stored.
struct WholeWordDot {
  static constexpr int kRowWords = 1, kWords = 1, kAtOnce = 1;
  static void split(Bits v, int /*i*/, Bits* w) { w[0] = v; }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
};

// For peak.inl.h.
struct ByteHalvesPeak {
  static constexpr int kDepth = 4;
  static void add_product(Vec& sum, Vec a, Vec b) {
    const Bits w = as_bits(a), x = as_bits(b);
    Bits total = as_bits(sum);
    for (int i = 0; i < ByteHalves::kWords; ++i) ByteHalves::add(total, &w, &x);
    sum = as_floats(total);
  }
};

// What a loaded word holds: one word of weights, or the two of packed halves of bytes.
struct WholeWords {
  static constexpr int kParts = 1;
  static Bits part(Bits v, int /*i*/) { return v; }
};
struct HalfBytes {
  static constexpr int kParts = 2;
  static Bits part(Bits v, int i) { return masked<0x0f0f0f0f>(i == 0 ? v : shift_right<4>(v)); }
};

}  // namespace
