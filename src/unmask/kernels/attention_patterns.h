#pragma once

#include <cstdint>
#include <span>

#include "unmask/kernels/attention.h"

namespace unmask {

// Builders of the attention masks that training and decoding use. Each replaces what `pattern`
// held and reuses its capacity. Queries and keys are rows of the same table, unless it says so.

// The sequences of a batch, one after the other.
struct SequenceRows {
  std::span<const int32_t> begin;   // [sequences + 1]: sequence b is rows begin[b]..begin[b + 1]
  std::span<const int32_t> length;  // [sequences] real tokens, the rest being padding; empty: all

  int32_t count() const { return static_cast<int32_t>(begin.size()) - 1; }
  int32_t length_of(int32_t b) const {
    return length.empty() ? begin[b + 1] - begin[b] : length[b];
  }
};

// Every real token attends to every real token of its sequence. Padding neither attends nor is
// attended, here and in all that follow.
void full_attention(const SequenceRows& sequences, AttentionPattern& pattern);

// Full inside each document. `document_begin`: rows at which a document begins, ascending; the
// start of a sequence begins one whether listed or not.
void document_attention(const SequenceRows& sequences, std::span<const int32_t> document_begin,
                        AttentionPattern& pattern);

// Blocks of `block` tokens, aligned to the start of the sequence, the last perhaps shorter: a
// query attends to the keys of all blocks up to its own.
void block_causal_attention(const SequenceRows& sequences, int32_t block,
                            AttentionPattern& pattern);

// Queries at the positions [first, end), whose keys are all positions, in blocks aligned to
// position 0: each attends to every position up to the end of its block.
void block_causal_attention_from(int32_t first, int32_t end, int32_t block,
                                 AttentionPattern& pattern);

// The rows of a sequence are two halves of equal capacity, [noisy | clean], `length` real tokens
// in each (empty: the whole half). A noisy query attends to its own noisy block and to the clean
// blocks strictly before it; a clean query to the clean blocks up to its own.
// (Arriola et al., "Block Diffusion", ICLR 2025: the attention mask of vectorised training.)
void block_diffusion_attention(const SequenceRows& sequences, int32_t block,
                               AttentionPattern& pattern);

}  // namespace unmask
