#include "unmask/kernels/feed_forward.h"

#include "unmask/base/parallel.h"
#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/isa/swiglu_kernel.h"
#include "unmask/kernels/linear.h"

namespace unmask {
namespace {

constexpr int64_t kRowsPerPiece = 32;

}  // namespace

void feed_forward_forward(ConstMatrix x, const FeedForwardWeights& weights, Matrix y, Arena* tape,
                          FeedForwardSaved* saved, Precision precision) {
  const int64_t tokens = x.rows, ffn = weights.gate.rows;
  ArenaScope scope(thread_scratch());
  Arena& arena = saved != nullptr ? *tape : thread_scratch();
  const Matrix gate = arena.matrix(tokens, ffn), up = arena.matrix(tokens, ffn);
  const Matrix h = thread_scratch().matrix(tokens, ffn);
  const Matrix out = thread_scratch().matrix(tokens, y.cols);

  linear_forward(x, weights.gate, {}, gate, precision);
  linear_forward(x, weights.up, {}, up, precision);
  parallel_pieces(tokens, kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      swiglu_kernel().forward(ffn, gate.row(t), up.row(t), 1.0f, h.row(t));
    }
  });
  linear_forward(h, weights.down, {}, out, precision);
  add(out, y);
  if (saved != nullptr) *saved = {gate, up};
}

void feed_forward_backward(ConstMatrix x, const FeedForwardWeights& weights,
                           const FeedForwardSaved& saved, ConstMatrix dy, Matrix dx,
                           const FeedForwardGradients& gradients, Precision precision) {
  const int64_t tokens = x.rows, ffn = weights.gate.rows;
  ArenaScope scope(thread_scratch());
  const Matrix dh = thread_scratch().matrix(tokens, ffn), h = thread_scratch().matrix(tokens, ffn);
  const Matrix d_gate = thread_scratch().matrix(tokens, ffn);
  const Matrix d_up = thread_scratch().matrix(tokens, ffn);

  linear_backward({}, weights.down, dy, dh, {}, {}, Write::set, precision);
  parallel_pieces(tokens, kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      swiglu_kernel().backward(ffn, saved.gate.row(t), saved.up.row(t), dh.row(t), 1.0f,
                               d_gate.row(t), d_up.row(t), h.row(t));
    }
  });
  linear_backward(h, weights.down, dy, {}, gradients.down, {}, Write::set, precision);
  linear_backward(x, weights.gate, d_gate, dx, gradients.gate, {}, Write::add, precision);
  linear_backward(x, weights.up, d_up, dx, gradients.up, {}, Write::add, precision);
}

}  // namespace unmask
