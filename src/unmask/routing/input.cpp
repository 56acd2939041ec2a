#include "unmask/routing/input.h"

#include <cmath>

namespace unmask {
namespace {

Status check_logits(ConstMatrix logits) {
  if (logits.rows < 1 || logits.cols < 1) {
    return usage_error("logits: expected at least 1 token and 1 expert, found [{}, {}]",
                       logits.rows, logits.cols);
  }
  for (int64_t t = 0; t < logits.rows; ++t) {
    for (int64_t e = 0; e < logits.cols; ++e) {
      if (std::isfinite(logits(t, e))) continue;
      return usage_error("logits: expected finite values, found {} at token {}, expert {}",
                         logits(t, e), t, e);
    }
  }
  return {};
}

Status check_sequences(std::span<const int32_t> begin, int64_t rows) {
  if (begin.size() < 2 || begin.front() != 0 || begin.back() != rows) {
    return usage_error(
        "sequence_begin: expected the first row of every sequence from 0 on, then the number of "
        "tokens {}; found {} entries from {} to {}",
        rows, begin.size(), begin.empty() ? 0 : begin.front(), begin.empty() ? 0 : begin.back());
  }
  for (size_t b = 0; b + 1 < begin.size(); ++b) {
    if (begin[b] < begin[b + 1]) continue;
    return usage_error(
        "sequence_begin: sequence {} is empty (rows {} to {}); expected at least 1 token", b,
        begin[b], begin[b + 1]);
  }
  return {};
}

Status check_length(const char* name, size_t found, int64_t expected) {
  if (found == 0 || static_cast<int64_t>(found) == expected) return {};
  return usage_error("{}: expected {} values, found {}", name, expected, found);
}

Status check_positions(const RouteContext& context) {
  for (size_t t = 0; t < context.position.size(); ++t) {
    if (context.position[t] >= 0) continue;
    return usage_error("position: expected 0 or more, found {} at token {}", context.position[t],
                       t);
  }
  return {};
}

}  // namespace

Status check_routing_input(ConstMatrix logits, const RouteContext& context) {
  UNMASK_TRY_STATUS(check_logits(logits));
  UNMASK_TRY_STATUS(check_sequences(context.sequence_begin, logits.rows));
  UNMASK_TRY_STATUS(check_length("mask_ratio", context.mask_ratio.size(), context.sequences()));
  UNMASK_TRY_STATUS(check_length("masked", context.masked.size(), logits.rows));
  UNMASK_TRY_STATUS(check_length("padding", context.padding.size(), logits.rows));
  UNMASK_TRY_STATUS(check_length("position", context.position.size(), logits.rows));
  UNMASK_TRY_STATUS(check_length("expert_bias", context.expert_bias.size(), logits.cols));
  UNMASK_TRY_STATUS(check_positions(context));
  for (size_t b = 0; b < context.mask_ratio.size(); ++b) {
    if (context.mask_ratio[b] >= 0 && context.mask_ratio[b] <= 1) continue;
    return usage_error("mask_ratio: expected 0 to 1, found {} for sequence {}",
                       context.mask_ratio[b], b);
  }
  for (size_t e = 0; e < context.expert_bias.size(); ++e) {
    if (std::isfinite(context.expert_bias[e])) continue;
    return usage_error("expert_bias: expected finite values, found {} for expert {}",
                       context.expert_bias[e], e);
  }
  return {};
}

}  // namespace unmask
