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

// Logits of the rows, in pieces. judge(begin, logits, weight) sees those of the rows from `begin`
// on; with d_head not empty it gets their weights, leaves the gradient of the logits in their
// place, and that goes on to d_hidden and d_head.
template <class Judge>
void judge_predictions(ConstMatrix hidden, std::span<const int32_t> rows,
                       std::span<const float> weight, const Weight& head, Matrix d_hidden,
                       Matrix d_head, Arena& scratch, Precision precision, Judge&& judge) {
  const bool with_gradient = !d_head.empty();
  in_pieces(std::ssize(rows), rows_of(head), [&](int64_t begin, int64_t count) {
    const ArenaScope scope(scratch);
    const auto index = rows.subspan(begin, count);
    const Matrix x = scratch.matrix(count, hidden.cols);
    const Matrix logits = scratch.matrix(count, rows_of(head));
    gather_rows(hidden, index, x);
    linear_forward(x, head, {}, logits, precision);
    judge(begin, logits, with_gradient ? weight.subspan(begin, count) : std::span<const float>());
    if (with_gradient) {
      const Matrix d_x = scratch.matrix(count, hidden.cols);
      linear_backward(x, std::get<ConstMatrix>(head), logits, d_x, d_head, {}, Write::set,
                      precision);
      scatter_add_rows(d_x, index, d_hidden);
    }
  });
}

double weighted_sum(std::span<const float> weight, std::span<const float> values) {
  double sum = 0;
  for (size_t i = 0; i < weight.size(); ++i) sum += double{weight[i]} * double{values[i]};
  return sum;
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
  judge_predictions(hidden, rows, weight, head, d_hidden, d_head, scratch, precision,
                    [&](int64_t begin, Matrix logits, std::span<const float> scale) {
                      const auto count = static_cast<size_t>(logits.rows);
                      cross_entropy(logits, targets.subspan(begin, count), scale,
                                    loss.subspan(begin, count));
                    });
  return weighted_sum(weight, loss);
}

ConfidentLoss confident_head_loss(ConstMatrix hidden, std::span<const int32_t> rows,
                                  std::span<const int32_t> targets, float beta,
                                  std::span<const float> weight, const Weight& head,
                                  std::span<float> loss, std::span<float> entropy, Matrix d_hidden,
                                  Matrix d_head, Arena& scratch, Precision precision) {
  judge_predictions(hidden, rows, weight, head, d_hidden, d_head, scratch, precision,
                    [&](int64_t begin, Matrix logits, std::span<const float> scale) {
                      const auto count = static_cast<size_t>(logits.rows);
                      confident_cross_entropy(logits, targets.subspan(begin, count), beta, scale,
                                              loss.subspan(begin, count),
                                              entropy.subspan(begin, count));
                    });
  return {weighted_sum(weight, loss), double{beta} * weighted_sum(weight, entropy)};
}

}  // namespace unmask
