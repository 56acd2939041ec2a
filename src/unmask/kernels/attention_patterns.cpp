#include "unmask/kernels/attention_patterns.h"

#include <algorithm>
#include <initializer_list>

#include "unmask/base/check.h"

namespace unmask {
namespace {

using KeyRange = AttentionPattern::KeyRange;

int32_t size_of(const auto& vector) { return static_cast<int32_t>(vector.size()); }

// Empty spans and ranges are left out.
void add_span(AttentionPattern& pattern, int32_t query_begin, int32_t query_end,
              std::initializer_list<KeyRange> ranges) {
  if (query_begin >= query_end) return;
  const int32_t first = size_of(pattern.ranges);
  for (const KeyRange& range : ranges) {
    if (range.begin < range.end) pattern.ranges.push_back(range);
  }
  pattern.spans.push_back({query_begin, query_end, first, size_of(pattern.ranges)});
}

// The spans since `first_span` make a group.
void close_group(AttentionPattern& pattern, int32_t first_span, int32_t key_begin,
                 int32_t key_end) {
  const int32_t spans = size_of(pattern.spans);
  if (spans > first_span) pattern.groups.push_back({first_span, spans, key_begin, key_end});
}

void add_document(AttentionPattern& pattern, int32_t begin, int32_t end) {
  const int32_t first_span = size_of(pattern.spans);
  add_span(pattern, begin, end, {{begin, end}});
  close_group(pattern, first_span, begin, end);
}

}  // namespace

void full_attention(const SequenceRows& sequences, AttentionPattern& pattern) {
  document_attention(sequences, {}, pattern);
}

void document_attention(const SequenceRows& sequences, std::span<const int32_t> document_begin,
                        AttentionPattern& pattern) {
  pattern.clear();
  auto next = document_begin.begin();
  for (int32_t b = 0; b < sequences.count(); ++b) {
    int32_t begin = sequences.begin[b];
    const int32_t end = begin + sequences.length_of(b);
    UNMASK_CHECK(begin <= end && end <= sequences.begin[b + 1]);
    next = std::upper_bound(next, document_begin.end(), begin);
    for (; next != document_begin.end() && *next < end; ++next) {
      add_document(pattern, begin, *next);
      begin = *next;
    }
    add_document(pattern, begin, end);
  }
}

void block_causal_attention(const SequenceRows& sequences, int32_t block,
                            AttentionPattern& pattern) {
  UNMASK_CHECK(block > 0);
  pattern.clear();
  for (int32_t b = 0; b < sequences.count(); ++b) {
    const int32_t begin = sequences.begin[b], end = begin + sequences.length_of(b);
    UNMASK_CHECK(begin <= end && end <= sequences.begin[b + 1]);
    const int32_t first_span = size_of(pattern.spans);
    for (int32_t row = begin; row < end; row += block) {
      const int32_t block_end = std::min(row + block, end);
      add_span(pattern, row, block_end, {{begin, block_end}});
    }
    close_group(pattern, first_span, begin, end);
  }
}

void block_causal_attention_from(int32_t first, int32_t end, int32_t block,
                                 AttentionPattern& pattern) {
  UNMASK_CHECK(block > 0 && 0 <= first && first < end);
  pattern.clear();
  for (int32_t begin = first; begin < end;) {
    const int32_t block_end = std::min((begin / block + 1) * block, end);
    add_span(pattern, begin - first, block_end - first, {{0, block_end}});
    begin = block_end;
  }
  close_group(pattern, 0, 0, end);
}

void block_diffusion_attention(const SequenceRows& sequences, int32_t block,
                               AttentionPattern& pattern) {
  UNMASK_CHECK(block > 0);
  pattern.clear();
  for (int32_t b = 0; b < sequences.count(); ++b) {
    const int32_t noisy = sequences.begin[b];
    const int32_t half = (sequences.begin[b + 1] - noisy) / 2;
    const int32_t clean = noisy + half;
    const int32_t n = sequences.length.empty() ? half : sequences.length[b];
    UNMASK_CHECK(sequences.begin[b + 1] - noisy == 2 * half && 0 <= n && n <= half);
    const int32_t first_span = size_of(pattern.spans);
    for (int32_t i = 0; i < n; i += block) {
      const int32_t end = std::min(i + block, n);
      add_span(pattern, noisy + i, noisy + end, {{noisy + i, noisy + end}, {clean, clean + i}});
    }
    for (int32_t i = 0; i < n; i += block) {
      const int32_t end = std::min(i + block, n);
      add_span(pattern, clean + i, clean + end, {{clean, clean + end}});
    }
    close_group(pattern, first_span, noisy, clean + n);
  }
}

}  // namespace unmask
