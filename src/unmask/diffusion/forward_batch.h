#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "unmask/kernels/attention.h"
#include "unmask/model/batch.h"
#include "unmask/model/config.h"

namespace unmask {

// How sequences become rows of a forward pass, and what they may attend to.
struct BatchLayout {
  enum class Attention {
    full,             // every token to every token of its sequence
    document,         // of its document: documents end behind each end token
    block_causal,     // of its block and of the blocks before
    block_diffusion,  // [noisy n | clean n], positions 0..n-1 twice: noisy -> its own noisy block
                      // and strictly earlier clean blocks, clean -> clean blocks up to its own
  };
  Attention attention = Attention::full;
  int32_t block_size = 0;  // of the two block patterns; the last block may be short
  int32_t mask_token = 0;
  int32_t end_token = 0;

  bool doubled() const { return attention == Attention::block_diffusion; }
};

// The layout that a model decodes with: full attention, or block-causal where its configuration
// says so.
BatchLayout decoding_layout(const ModelConfig& config);

// Owns what a Batch borrows. Sequences of different lengths stand one after the other without
// padding, so padding is neither attended nor routed. Reused: capacity is kept.
//
// For routing, both halves of a doubled sequence are sequences of their own: each has its own
// blocks to vote with, and expert choice selects in each by itself, the noisy half at its mask
// ratio and the clean half at mask ratio 0, as the clean prefix of a decoding step is all there is.
class ForwardBatch {
 public:
  void clear();
  void reserve(int64_t sequences, int64_t rows);

  // Appends a sequence: token i, or the mask token where masked[i]. Returns its first row.
  int32_t add(const BatchLayout& layout, std::span<const int32_t> tokens,
              std::span<const uint8_t> masked);
  // Appends the rows of a sequence from position `first` on, which attend to the cache too; with
  // full attention to all positions that it has room for. The layout is one of the two, and either
  // all sequences of a pass have caches or none. For routing these rows are the sequence: its mask
  // ratio is theirs. `cache` lives until the next clear.
  int32_t add_cached(const BatchLayout& layout, std::span<const int32_t> tokens,
                     std::span<const uint8_t> masked, int32_t first, KvCache& cache);
  // Builds the attention pattern over all that was added.
  void finish(const BatchLayout& layout);

  int64_t rows() const { return static_cast<int64_t>(tokens_.size()); }
  // Borrows from this until the next change.
  Batch batch() const;

 private:
  void append(std::span<const int32_t> tokens, int32_t position, float mask_ratio);
  int32_t append_masked(const BatchLayout& layout, std::span<const int32_t> tokens,
                        std::span<const uint8_t> masked, int32_t position);

  std::vector<int32_t> tokens_;
  std::vector<int32_t> positions_;
  std::vector<uint8_t> masked_;
  std::vector<int32_t> routed_begin_;    // of the sequences that routing sees
  std::vector<int32_t> attended_begin_;  // of those that attention sees: both halves as one
  std::vector<int32_t> document_begin_;
  std::vector<float> mask_ratio_;
  AttentionPattern attention_;
  std::vector<CachedRows> cached_;
};

}  // namespace unmask
