#pragma once

#include "unmask/kernels/attention.h"

// The plain twin of kernels/attention.h: one query and head at a time, f64 sums.
namespace unmask::reference {

void attention_forward(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionPattern& pattern,
                       const AttentionShape& shape, Matrix out, Matrix log_sum_exp,
                       Precision precision);

void attention_backward(ConstMatrix q, ConstMatrix k, ConstMatrix v, ConstMatrix out,
                        ConstMatrix log_sum_exp, ConstMatrix d_out, const AttentionPattern& pattern,
                        const AttentionShape& shape, Matrix dq, Matrix dk, Matrix dv,
                        Precision precision);

}  // namespace unmask::reference
