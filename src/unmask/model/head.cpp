#include "unmask/model/head.h"

#include <algorithm>

#include "unmask/kernels/cross_entropy.h"
#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/linear.h"

namespace unmask {
namespace {

// piece(begin, count) over [0, rows).
template <class F>
void in_pieces(int64_t rows, int64_t vocab_size, F&& piece) {
  const int64_t step = head_piece_rows(vocab_size);
  for (int64_t begin = 0; begin < rows; begin += step) piece(begin, std::min(step, rows - begin));
}

}  // namespace

int64_t head_piece_rows(int64_t vocab_size) {
  return std::clamp<int64_t>((int64_t{1} << 24) / vocab_size, 64, 1024);
}

void head_forward(ConstMatrix hidden, std::span<const int32_t> rows, const Weight& head,
                  Matrix logits, Arena& scratch, Precision precision) {
  in_pieces(std::ssize(rows), rows_of(head), [&](int64_t begin, int64_t count) {
    const ArenaScope scope(scratch);
    const Matrix x = scratch.matrix(count, hidden.cols);
    gather_rows(hidden, rows.subspan(begin, count), x);
    linear_forward(x, head, {}, logits.row_range(begin, count), precision);
  });
}

double head_loss(ConstMatrix hidden, std::span<const int32_t> rows,
                 std::span<const int32_t> targets, std::span<const float> weight,
                 const Weight& head, std::span<float> loss, Matrix d_hidden, Matrix d_head,
                 Arena& scratch, Precision precision) {
  const bool with_gradient = !d_head.empty();
  double sum = 0;
  in_pieces(std::ssize(rows), rows_of(head), [&](int64_t begin, int64_t count) {
    const ArenaScope scope(scratch);
    const auto index = rows.subspan(begin, count);
    const auto scale = weight.subspan(begin, count);
    const auto piece_loss = loss.subspan(begin, count);
    const Matrix x = scratch.matrix(count, hidden.cols);
    const Matrix logits = scratch.matrix(count, rows_of(head));
    gather_rows(hidden, index, x);
    linear_forward(x, head, {}, logits, precision);
    cross_entropy(logits, targets.subspan(begin, count),
                  with_gradient ? scale : std::span<const float>(), piece_loss);
    for (int64_t i = 0; i < count; ++i) sum += double{scale[i]} * double{piece_loss[i]};
    if (with_gradient) {
      const Matrix d_x = scratch.matrix(count, hidden.cols);
      linear_backward(x, std::get<ConstMatrix>(head), logits, d_x, d_head, {}, false, precision);
      scatter_add_rows(d_x, index, d_hidden);
    }
  });
  return sum;
}

}  // namespace unmask
