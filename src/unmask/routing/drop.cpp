#include "unmask/routing/drop.h"

#include <algorithm>
#include <cmath>

#include "unmask/base/parallel.h"
#include "unmask/kernels/top_k.h"
#include "unmask/routing/blocks.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

// rank[slot] = key of the weight that the slot's token gives its expert.
void rank_by_weight(const Weighting& weighting, ConstMatrix logits, std::span<const float> bias,
                    const Assignment& assignment, std::span<int32_t> rank) {
  ArenaScope scope(thread_scratch());
  const auto expert = experts_of_slots(assignment);
  parallel_pieces(assignment.tokens, rows_at_once(logits.cols), [&](int64_t begin, int64_t end) {
    ArenaScope piece_scope(thread_scratch());
    const auto row = take_scratch<float>(logits.cols), chosen = take_scratch<float>(logits.cols),
               weights = take_scratch<float>(logits.cols);
    for (int64_t t = begin; t < end; ++t) {
      const auto slots = assignment.slots_of(static_cast<int32_t>(t));
      if (slots.empty()) continue;
      std::copy_n(logits.row(t), logits.cols, row.begin());
      for (size_t e = 0; e < bias.size(); ++e) row[e] += bias[e];
      const auto z = chosen.first(slots.size()), w = weights.first(slots.size());
      for (size_t i = 0; i < slots.size(); ++i) z[i] = row[expert[slots[i]]];
      weighting.forward(z, row, w);
      for (size_t i = 0; i < slots.size(); ++i) rank[slots[i]] = order_key(w[i]);
    }
  });
}

// Earlier positions rank higher.
void rank_by_position(const RouteContext& context, const Assignment& assignment,
                      std::span<int32_t> rank) {
  ArenaScope scope(thread_scratch());
  const auto position = take_scratch<int32_t>(assignment.tokens);
  for (int32_t b = 0; b < context.sequences(); ++b) {
    const int32_t first = context.sequence_begin[b];
    for (int32_t t = first; t < context.sequence_begin[b + 1]; ++t) {
      position[t] = position_of(context, t, first);
    }
  }
  for (int64_t slot = 0; slot < assignment.slots(); ++slot) {
    rank[slot] = -position[assignment.token[slot]];
  }
}

// Whether each slot stays: of every expert the `capacity` of highest rank.
void mark_kept(const Assignment& assignment, int64_t capacity, std::span<const int32_t> rank,
               std::span<uint8_t> kept) {
  parallel_for(assignment.experts, [&](int64_t e) {
    const int64_t begin = assignment.expert_begin[e];
    const int64_t load = assignment.load(static_cast<int32_t>(e));
    if (load <= capacity) {
      std::fill_n(kept.begin() + begin, load, 1);
      return;
    }
    ArenaScope scope(thread_scratch());
    const auto keys = take_scratch<int32_t>(padded_keys(load));
    const auto stay = take_scratch<int32_t>(capacity);
    std::copy_n(rank.begin() + begin, load, keys.begin());
    top_k_keys(keys, load, stay);
    std::fill_n(kept.begin() + begin, load, 0);
    for (const int32_t i : stay) kept[begin + i] = 1;
  });
}

// The slots that go, listed by token.
void list_dropped(const Assignment& assignment, std::span<const uint8_t> kept, Decision& decision) {
  auto& begin = decision.dropped_begin;
  begin.assign(static_cast<size_t>(assignment.tokens) + 1, 0);
  decision.dropped_expert.reserve(kept.size());  // at most, so that it is allocated once
  decision.dropped_expert.resize(static_cast<size_t>(std::count(kept.begin(), kept.end(), 0)));
  for (size_t slot = 0; slot < kept.size(); ++slot) {
    if (!kept[slot]) ++begin[assignment.token[slot] + 1];
  }
  for (int32_t t = 0; t < assignment.tokens; ++t) begin[t + 1] += begin[t];
  // begin[t] runs through the entries of t and ends where those of t + 1 begin: shifted back below.
  for (int32_t e = 0; e < assignment.experts; ++e) {
    for (int32_t slot = assignment.expert_begin[e]; slot < assignment.expert_begin[e + 1]; ++slot) {
      if (!kept[slot]) decision.dropped_expert[begin[assignment.token[slot]]++] = e;
    }
  }
  for (int32_t t = assignment.tokens; t > 0; --t) begin[t] = begin[t - 1];
  begin[0] = 0;
}

void remove_slots(std::span<const uint8_t> kept, Assignment& assignment) {
  int32_t count = 0, slot = 0;
  for (int32_t e = 0; e < assignment.experts; ++e) {
    const int32_t end = assignment.expert_begin[e + 1];
    assignment.expert_begin[e] = count;
    for (; slot < end; ++slot) {
      if (kept[slot]) assignment.token[count++] = assignment.token[slot];
    }
  }
  assignment.expert_begin[assignment.experts] = count;
  assignment.token.resize(count);
  assignment.finish();
}

}  // namespace

int64_t slots_per_expert(const RoutingPolicy& policy, int64_t tokens, int32_t experts) {
  const double mean = static_cast<double>(tokens * policy.experts_per_token) / experts;
  const double slots = std::ceil(mean * policy.drop->capacity_factor);
  return static_cast<int64_t>(std::min(slots, static_cast<double>(tokens)));
}

void drop_beyond_capacity(const RoutingPolicy& policy, const Weighting& weighting,
                          ConstMatrix logits, const RouteContext& context, Assignment& assignment,
                          Decision& decision) {
  const int64_t tokens = context.routed_tokens(0, logits.rows);
  const int64_t capacity = slots_per_expert(policy, tokens, assignment.experts);

  ArenaScope scope(thread_scratch());
  const auto rank = take_scratch<int32_t>(assignment.slots());
  if (policy.drop->policy == RoutingPolicy::Drop::Keep::position) {
    rank_by_position(context, assignment, rank);
  } else {
    const auto bias = policy.balance.reference ? context.expert_bias : std::span<const float>();
    rank_by_weight(weighting, logits, bias, assignment, rank);
  }
  const auto kept = take_scratch<uint8_t>(assignment.slots());
  mark_kept(assignment, capacity, rank, kept);
  list_dropped(assignment, kept, decision);
  remove_slots(kept, assignment);
}

Status check_drop(const RoutingPolicy& policy) {
  if (!policy.drop ||
      (std::isfinite(policy.drop->capacity_factor) && policy.drop->capacity_factor > 0)) {
    return {};
  }
  return usage_error(
      "routing.drop.capacity_factor: expected more than 0 (1 = the mean load), found {}; remove "
      "the table for a dropless router",
      policy.drop->capacity_factor);
}

}  // namespace unmask
