#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace unmask {

// Rows [begin, end) of one sequence whose positions lie in one block.
struct RowBlock {
  int32_t begin = 0;
  int32_t end = 0;
  int32_t sequence = 0;
  bool operator==(const RowBlock&) const = default;
};

// What a selection decided besides who computes what: what weights and losses must know of it
// (drops), and what statistics and tools show. Filled by Router::select; a part that the policy
// does not have is empty. Memory is reused from pass to pass.
struct Decision {
  // Policies that select in blocks. A block of padding alone has an empty coreset.
  std::vector<RowBlock> blocks;
  std::vector<uint8_t> coreset;       // [blocks, experts] 1 = the block may use the expert
  std::vector<int32_t> coreset_size;  // [blocks]

  // Policies whose experts choose.
  std::vector<int32_t> k;         // [sequences] experts per token that each was given
  std::vector<int32_t> capacity;  // [groups] tokens that each expert takes of a group: a sequence,
                                  // the batch, or one of `blocks`

  // Choices of tokens that found their expert full: token t also chose
  // dropped_expert[dropped_begin[t] .. dropped_begin[t + 1]), ascending.
  std::vector<int32_t> dropped_begin;  // [tokens + 1]
  std::vector<int32_t> dropped_expert;

  std::span<const int32_t> dropped_of(int64_t t) const {
    if (dropped_begin.empty()) return {};
    return std::span(dropped_expert)
        .subspan(dropped_begin[t], dropped_begin[t + 1] - dropped_begin[t]);
  }
  std::span<const uint8_t> coreset_of(int64_t block, int64_t experts) const {
    return std::span(coreset).subspan(block * experts, experts);
  }

  void clear() {
    blocks.clear();
    coreset.clear();
    coreset_size.clear();
    k.clear();
    capacity.clear();
    dropped_begin.clear();
    dropped_expert.clear();
  }
};

}  // namespace unmask
