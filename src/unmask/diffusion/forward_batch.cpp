#include "unmask/diffusion/forward_batch.h"

#include <algorithm>

#include "unmask/base/check.h"
#include "unmask/kernels/attention_patterns.h"

namespace unmask {

BatchLayout decoding_layout(const ModelConfig& config) {
  return {.attention = config.attention_block > 0 ? BatchLayout::Attention::block_causal
                                                  : BatchLayout::Attention::full,
          .block_size = config.attention_block,
          .mask_token = config.mask_token,
          .end_token = config.end_token};
}

void ForwardBatch::clear() {
  tokens_.clear();
  positions_.clear();
  masked_.clear();
  routed_begin_.assign(1, 0);
  attended_begin_.assign(1, 0);
  mask_ratio_.clear();
  document_begin_.clear();
  attention_.clear();
  cached_.clear();
}

void ForwardBatch::reserve(int64_t sequences, int64_t rows) {
  tokens_.reserve(static_cast<size_t>(rows));
  positions_.reserve(static_cast<size_t>(rows));
  masked_.reserve(static_cast<size_t>(rows));
  routed_begin_.reserve(static_cast<size_t>(sequences + 1));
  attended_begin_.reserve(static_cast<size_t>(sequences + 1));
  mask_ratio_.reserve(static_cast<size_t>(sequences));
}

void ForwardBatch::append(std::span<const int32_t> tokens, int32_t position, float mask_ratio) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  masked_.resize(tokens_.size(), 0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    positions_.push_back(position + static_cast<int32_t>(i));
  }
  mask_ratio_.push_back(mask_ratio);
  routed_begin_.push_back(static_cast<int32_t>(tokens_.size()));
}

int32_t ForwardBatch::append_masked(const BatchLayout& layout, std::span<const int32_t> tokens,
                                    std::span<const uint8_t> masked, int32_t position) {
  UNMASK_CHECK(!tokens.empty() && tokens.size() == masked.size());
  const auto first = static_cast<int32_t>(tokens_.size());
  const auto count = std::count(masked.begin(), masked.end(), 1);
  append(tokens, position, static_cast<float>(count) / static_cast<float>(tokens.size()));
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!masked[i]) continue;
    tokens_[first + i] = layout.mask_token;
    masked_[first + i] = 1;
  }
  return first;
}

int32_t ForwardBatch::add_cached(const BatchLayout& layout, std::span<const int32_t> tokens,
                                 std::span<const uint8_t> masked, int32_t first, KvCache& cache) {
  const bool full = layout.attention == BatchLayout::Attention::full;
  UNMASK_CHECK(full || layout.attention == BatchLayout::Attention::block_causal);
  const int32_t first_row = append_masked(layout, tokens, masked, first);
  CachedRows& rows = cached_.emplace_back();
  rows.cache = &cache;
  rows.row_begin = first_row;
  rows.row_end = static_cast<int32_t>(tokens_.size());
  rows.first = first;
  const int32_t count = rows.row_end - first_row;
  if (full) {
    rows.attention = {.spans = {{0, count, 0, 1}},
                      .ranges = {{0, cache.capacity()}},
                      .groups = {{0, 1, 0, cache.capacity()}}};
  } else {
    block_causal_attention_from(first, first + count, layout.block_size, rows.attention);
  }
  return first_row;
}

int32_t ForwardBatch::add(const BatchLayout& layout, std::span<const int32_t> tokens,
                          std::span<const uint8_t> masked) {
  const int32_t first = append_masked(layout, tokens, masked, 0);
  if (layout.doubled()) append(tokens, 0, 0.0f);
  attended_begin_.push_back(static_cast<int32_t>(tokens_.size()));

  if (layout.attention == BatchLayout::Attention::document) {
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      if (tokens[i] == layout.end_token) {
        document_begin_.push_back(first + static_cast<int32_t>(i) + 1);
      }
    }
  }
  return first;
}

void ForwardBatch::finish(const BatchLayout& layout) {
  if (!cached_.empty()) return;  // each has its own
  const SequenceRows sequences{.begin = attended_begin_, .length = {}};
  switch (layout.attention) {
    case BatchLayout::Attention::full:
      full_attention(sequences, attention_);
      break;
    case BatchLayout::Attention::document:
      document_attention(sequences, document_begin_, attention_);
      break;
    case BatchLayout::Attention::block_causal:
      block_causal_attention(sequences, layout.block_size, attention_);
      break;
    case BatchLayout::Attention::block_diffusion:
      block_diffusion_attention(sequences, layout.block_size, attention_);
      break;
  }
}

Batch ForwardBatch::batch() const {
  Batch batch;
  batch.tokens = tokens_;
  batch.positions = positions_;
  batch.attention = &attention_;
  batch.cached = cached_;
  batch.route.sequence_begin = routed_begin_;
  batch.route.mask_ratio = mask_ratio_;
  batch.route.masked = masked_;
  batch.route.position = positions_;
  return batch;
}

}  // namespace unmask
