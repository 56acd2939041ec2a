#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// Routed SwiGLU experts with packed weights, forward only (the equation is that of experts.h):
//   y[t] += sum over slots s of token t of down_e · (gate[s] * silu(gate_e · x[t]) * (up_e · x[t]))
// A product is that of quantized_linear.h: x is rounded, or quantized by row, and so is the
// SwiGLU's output with the combine weight in it.

// One expert lies in memory as one record: gate, up and down behind each other, each its tiles and
// then its scales. What brings an expert from a file brings one range of bytes.
struct ExpertForm {
  QuantizedShape up;    // [ffn, hidden]; gate has the same
  QuantizedShape down;  // [hidden, ffn]

  int64_t bytes() const { return 2 * up.bytes() + down.bytes(); }
  QuantizedMatrix gate_of(const std::byte* record) const { return matrix_at(up, record); }
  QuantizedMatrix up_of(const std::byte* record) const {
    return matrix_at(up, record + up.bytes());
  }
  QuantizedMatrix down_of(const std::byte* record) const {
    return matrix_at(down, record + 2 * up.bytes());
  }
};

struct QuantizedExperts {
  ExpertForm form;
  std::span<const std::byte* const> records;  // [experts], on 64 bytes; looked at where tokens go

  QuantizedMatrix gate(int64_t e) const { return form.gate_of(records[e]); }
  QuantizedMatrix up(int64_t e) const { return form.up_of(records[e]); }
  QuantizedMatrix down(int64_t e) const { return form.down_of(records[e]); }
};

struct QuantizedFeedForward {
  ExpertForm form;
  const std::byte* record = nullptr;
};

// y [tokens, hidden] +=, the experts of a token in ascending order. Made for blocks of 1 to 256
// tokens: every chosen expert's weights are read from memory once, and shared between threads by
// tiles of outputs, so that they have the same work whatever the skew.
void experts_forward(ConstMatrix x, const QuantizedExperts& weights, const Assignment& assignment,
                     Matrix y);

// Dense SwiGLU, shared experts and dense layers: one expert that takes every token. y +=.
void feed_forward_forward(ConstMatrix x, const QuantizedFeedForward& weights, Matrix y);

}  // namespace unmask
