// Included inside the namespace of an instruction set: products in matrix registers (AMX), of which
// there are eight, each of 16 rows of 16 words. `Registers` is those of the machine, or the same
// spelled out.

namespace {

constexpr int64_t kRegisterRows = 16, kRegisterWords = 16;
constexpr int64_t kMatrixRows = 2 * kRegisterRows, kMatrixCols = 2 * kRegisterWords;

// Four registers of sums for up to 32 rows and 32 columns, two for the rows, two for the columns.
enum Register { kSum00, kSum01, kSum10, kSum11, kRows0, kRows1, kCols0, kCols1 };

// Sums of `rows` x 32 as they are formed, 32-bit values. Whole registers are multiplied: rows past
// the last one are whatever lies there.
template <class Registers>
class MatrixSums {
 public:
  explicit MatrixSums(int64_t rows) : rows_(rows), two_(rows > kRegisterRows) {}

  void clear() {
    registers_.template zero<kSum00>();
    registers_.template zero<kSum01>();
    if (!two_) return;
    registers_.template zero<kSum10>();
    registers_.template zero<kSum11>();
  }

  // += a [rows][16 words] · b [16 words][32]
  template <class Dot, class A, class B>
  void add(const A* a, const B* b) {
    registers_.template load<kCols0>(b, kMatrixCols);
    registers_.template load<kRows0>(a, kRegisterWords);
    registers_.template add<Dot, kSum00, kRows0, kCols0>();
    registers_.template load<kCols1>(b + kRegisterWords, kMatrixCols);
    registers_.template add<Dot, kSum01, kRows0, kCols1>();
    if (!two_) return;
    registers_.template load<kRows1>(a + kRegisterRows * kRegisterWords, kRegisterWords);
    registers_.template add<Dot, kSum10, kRows1, kCols0>();
    registers_.template add<Dot, kSum11, kRows1, kCols1>();
  }

  // From and to c [rows][stride].
  void load(const float* c, int64_t stride) {
    load_rows<kSum00, kSum01>(c, stride, two_ ? kRegisterRows : rows_);
    if (two_) load_rows<kSum10, kSum11>(c + kRegisterRows * stride, stride, rows_ - kRegisterRows);
  }
  void store(float* c, int64_t stride) {
    store_rows<kSum00, kSum01>(c, stride, two_ ? kRegisterRows : rows_);
    if (two_) store_rows<kSum10, kSum11>(c + kRegisterRows * stride, stride, rows_ - kRegisterRows);
  }

  // To all [32][32], of which the first 16 rows, or all, are written.
  template <class Word>
  void store_all(Word* all) {
    store_both<kSum00, kSum01>(all, kMatrixCols);
    if (two_) store_both<kSum10, kSum11>(all + kRegisterRows * kMatrixCols, kMatrixCols);
  }

 private:
  template <int kLeft, int kRight>
  void load_rows(const float* c, int64_t stride, int64_t rows) {
    if (rows < kRegisterRows) {
      for (int64_t r = 0; r < rows; ++r) {
        __builtin_memcpy(spare_ + r * kMatrixCols, c + r * stride, sizeof(float) * kMatrixCols);
      }
      c = spare_;
      stride = kMatrixCols;
    }
    registers_.template load<kLeft>(c, stride);
    registers_.template load<kRight>(c + kRegisterWords, stride);
  }
  template <int kLeft, int kRight>
  void store_rows(float* c, int64_t stride, int64_t rows) {
    if (rows == kRegisterRows) return store_both<kLeft, kRight>(c, stride);
    store_both<kLeft, kRight>(spare_, kMatrixCols);
    for (int64_t r = 0; r < rows; ++r) {
      __builtin_memcpy(c + r * stride, spare_ + r * kMatrixCols, sizeof(float) * kMatrixCols);
    }
  }
  template <int kLeft, int kRight, class Word>
  void store_both(Word* c, int64_t stride) {
    registers_.template store<kLeft>(c, stride);
    registers_.template store<kRight>(c + kRegisterWords, stride);
  }

  Registers registers_;
  int64_t rows_;
  bool two_;
  alignas(64) float spare_[kRegisterRows * kMatrixCols];
};

}  // namespace
