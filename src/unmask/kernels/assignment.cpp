#include "unmask/kernels/assignment.h"

#include "unmask/base/check.h"

namespace unmask {

void Assignment::reserve(int32_t expert_count, int32_t token_count, int64_t slot_count) {
  const auto slots = static_cast<size_t>(slot_count);
  expert_begin.reserve(static_cast<size_t>(expert_count) + 1);
  token_begin.reserve(static_cast<size_t>(token_count) + 1);
  token.reserve(slots);
  gate.reserve(slots);
  token_slot.reserve(slots);
}

void Assignment::build_by_token(int32_t expert_count, int32_t token_count,
                                std::span<const int32_t> chosen_begin,
                                std::span<const int32_t> chosen) {
  experts = expert_count;
  tokens = token_count;
  expert_begin.assign(static_cast<size_t>(experts) + 1, 0);
  token.resize(chosen.size());
  for (const int32_t e : chosen) ++expert_begin[e + 1];
  for (int32_t e = 0; e < experts; ++e) expert_begin[e + 1] += expert_begin[e];
  // Tokens come in ascending order, so every expert's list is ascending. expert_begin[e] runs
  // through the slots of e and ends where those of e + 1 begin: shifted back below.
  for (int32_t t = 0; t < tokens; ++t) {
    for (int32_t i = chosen_begin[t]; i < chosen_begin[t + 1]; ++i) {
      token[expert_begin[chosen[i]]++] = t;
    }
  }
  for (int32_t e = experts; e > 0; --e) expert_begin[e] = expert_begin[e - 1];
  expert_begin[0] = 0;
  finish();
}

void Assignment::finish() {
  UNMASK_CHECK(expert_begin.size() == static_cast<size_t>(experts) + 1);
  UNMASK_CHECK(expert_begin.back() == static_cast<int32_t>(token.size()));
  gate.assign(token.size(), 0.0f);
  token_begin.assign(static_cast<size_t>(tokens) + 1, 0);
  token_slot.resize(token.size());
  for (const int32_t t : token) ++token_begin[t + 1];
  for (int32_t t = 0; t < tokens; ++t) token_begin[t + 1] += token_begin[t];
  for (int32_t slot = 0; slot < static_cast<int32_t>(token.size()); ++slot) {
    token_slot[token_begin[token[slot]]++] = slot;
  }
  for (int32_t t = tokens; t > 0; --t) token_begin[t] = token_begin[t - 1];
  token_begin[0] = 0;
}

}  // namespace unmask
