// Included inside the namespace of an instruction set, after matrix_registers.inl.h: matrix
// registers spelled out, which show on machines without any that whole operations are right.

namespace {

struct MatrixPairDot {
  static uint32_t add(uint32_t sum, uint32_t row, uint32_t column) {
    const auto value = [](uint32_t bits) { return __builtin_bit_cast(float, bits); };
    const float low = value(row << 16) * value(column << 16);
    const float high = value(row & 0xffff0000) * value(column & 0xffff0000);
    return __builtin_bit_cast(uint32_t, value(sum) + low + high);
  }
};

// Signed bytes of rows times those of columns, which are unsigned or signed.
template <class Column>
struct MatrixBytesDot {
  static uint32_t add(uint32_t sum, uint32_t row, uint32_t column) {
    for (int i = 0; i < 32; i += 8) {
      const auto level = static_cast<int8_t>(row >> i);
      sum += static_cast<uint32_t>(level * static_cast<Column>(column >> i));
    }
    return sum;
  }
};
using MatrixByteDot = MatrixBytesDot<uint8_t>;
using MatrixSignedByteDot = MatrixBytesDot<int8_t>;

class SpelledOutRegisters {
 public:
  explicit SpelledOutRegisters(int64_t rows) : rows_(rows) {}

  template <int kIndex>
  void zero() {
    __builtin_memset(word_[kIndex], 0, sizeof word_[kIndex]);
  }
  template <int kIndex>
  void load(const void* p, int64_t stride) {
    for (int64_t r = 0; r < height(kIndex); ++r) {
      __builtin_memcpy(word_[kIndex][r], static_cast<const char*>(p) + 4 * r * stride, kRowBytes);
    }
  }
  template <int kIndex>
  void store(void* p, int64_t stride) const {
    for (int64_t r = 0; r < height(kIndex); ++r) {
      __builtin_memcpy(static_cast<char*>(p) + 4 * r * stride, word_[kIndex][r], kRowBytes);
    }
  }
  template <class Dot, int kSum, int kRows, int kCols>
  void add() {
    for (int64_t r = 0; r < height(kSum); ++r) {
      for (int64_t k = 0; k < kRegisterWords; ++k) {
        for (int64_t c = 0; c < kRegisterWords; ++c) {
          uint32_t& sum = word_[kSum][r][c];
          sum = Dot::add(sum, word_[kRows][r][k], word_[kCols][k][c]);
        }
      }
    }
  }

 private:
  static constexpr size_t kRowBytes = 4 * kRegisterWords;

  int64_t height(int index) const { return height_of(index, rows_); }

  int64_t rows_;
  uint32_t word_[8][kRegisterRows][kRegisterWords];
};

}  // namespace
