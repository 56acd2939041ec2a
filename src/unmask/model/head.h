#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/precision.h"
#include "unmask/model/weights.h"

namespace unmask {

// Rows of logits that exist at a time: 64 MiB of them, so that a large vocabulary costs little
// memory, and no fewer than 64 rows, so that the head's gradient is not swept too often.
int64_t head_piece_rows(int64_t vocab_size);

// logits [rows, vocab] of the given rows of hidden [N, hidden]. head [vocab, hidden].
void head_forward(ConstMatrix hidden, std::span<const int32_t> rows, const Weight& head,
                  Matrix logits, Arena& scratch, Precision precision);

// sum over i of weight[i] * CE(row rows[i], targets[i]); loss[i] = the unweighted CE. With d_head
// not empty also d_hidden[rows[i]] += and d_head +=; a row then occurs at most once, and the head
// is a plain one.
double head_loss(ConstMatrix hidden, std::span<const int32_t> rows,
                 std::span<const int32_t> targets, std::span<const float> weight,
                 const Weight& head, std::span<float> loss, Matrix d_hidden, Matrix d_head,
                 Arena& scratch, Precision precision);

// The loss of predictions with the confidence term of dParallel (cross_entropy.h).
struct ConfidentLoss {
  double cross_entropy = 0;  // sum over i of weight[i] * CE_i
  double confidence = 0;     // beta * sum over i of weight[i] * entropy[i]
};

// As head_loss; also entropy[i] = that of the prediction where it is right, else 0. Gradients are
// those of the sum of both parts.
ConfidentLoss confident_head_loss(ConstMatrix hidden, std::span<const int32_t> rows,
                                  std::span<const int32_t> targets, float beta,
                                  std::span<const float> weight, const Weight& head,
                                  std::span<float> loss, std::span<float> entropy, Matrix d_hidden,
                                  Matrix d_head, Arena& scratch, Precision precision);

}  // namespace unmask
