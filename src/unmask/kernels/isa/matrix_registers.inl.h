// Included inside the namespace of an instruction set: products in matrix registers (AMX), of which
// there are eight, each of up to 16 rows of 16 words. `Registers` is those of the machine, or the
// same spelled out.

namespace {

constexpr int64_t kRegisterRows = 16, kRegisterWords = 16;
constexpr int64_t kMatrixRows = 2 * kRegisterRows, kMatrixCols = 2 * kRegisterWords;

// Four registers of sums for up to 32 rows and 32 columns, two for the rows, two for the columns.
enum Register { kSum00, kSum01, kSum10, kSum11, kRows0, kRows1, kCols0, kCols1 };

// How many of 1 to 32 rows the upper registers hold; the lower ones hold the others. Nearly equal
// halves take the least time, since a product takes as long as its taller register.
constexpr int64_t upper_height(int64_t rows) {
  return rows <= kRegisterRows ? rows : (rows + 1) / 2;
}

// Of one register, for products of so many rows; of one that those do not use, anything.
constexpr int64_t height_of(int index, int64_t rows) {
  const int64_t upper = upper_height(rows);
  switch (index) {
    case kSum00:
    case kSum01:
    case kRows0:
      return upper;
    case kSum10:
    case kSum11:
    case kRows1:
      return rows > upper ? rows - upper : upper;
    default:
      return kRegisterRows;
  }
}

// Sums of `rows` x 32 as they are formed, 32-bit values.
template <class Registers>
class MatrixSums {
 public:
  explicit MatrixSums(int64_t rows)
      : registers_(rows), upper_(upper_height(rows)), two_(rows > kRegisterRows) {}

  void clear() {
    registers_.template zero<kSum00>();
    registers_.template zero<kSum01>();
    if (!two_) return;
    registers_.template zero<kSum10>();
    registers_.template zero<kSum11>();
  }

  // Of the next product: a [rows][16 words] and b [16 words][32]. Loads come before products: a
  // core shared with another tenant does not overlap them, and turns from one to the other cost.
  template <class A, class B>
  void load(const A* a, const B* b) {
    registers_.template load<kRows0>(a, kRegisterWords);
    if (two_) registers_.template load<kRows1>(a + upper_ * kRegisterWords, kRegisterWords);
    registers_.template load<kCols0>(b, kMatrixCols);
    registers_.template load<kCols1>(b + kRegisterWords, kMatrixCols);
  }

  // += a · b, as they were loaded.
  template <class Dot>
  void add_product() {
    registers_.template add<Dot, kSum00, kRows0, kCols0>();
    registers_.template add<Dot, kSum01, kRows0, kCols1>();
    if (!two_) return;
    registers_.template add<Dot, kSum10, kRows1, kCols0>();
    registers_.template add<Dot, kSum11, kRows1, kCols1>();
  }

  // To c [rows][stride].
  template <class Word>
  void store(Word* c, int64_t stride) {
    registers_.template store<kSum00>(c, stride);
    registers_.template store<kSum01>(c + kRegisterWords, stride);
    if (!two_) return;
    registers_.template store<kSum10>(c + upper_ * stride, stride);
    registers_.template store<kSum11>(c + upper_ * stride + kRegisterWords, stride);
  }

 private:
  Registers registers_;
  int64_t upper_;
  bool two_;
};

}  // namespace
