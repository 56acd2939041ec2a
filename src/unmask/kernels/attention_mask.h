#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "unmask/kernels/attention.h"

// Walking an AttentionPattern block by block.
namespace unmask {

// The spans of a group that end after `query`.
inline std::span<const AttentionPattern::Span> spans_from(const AttentionPattern& pattern,
                                                          const AttentionPattern::Group& group,
                                                          int64_t query) {
  const auto begin = pattern.spans.begin() + group.first_span;
  const auto end = pattern.spans.begin() + group.last_span;
  return {std::upper_bound(
              begin, end, query,
              [](int64_t q, const AttentionPattern::Span& span) { return q < span.query_end; }),
          end};
}

inline std::span<const AttentionPattern::KeyRange> ranges_of(const AttentionPattern& pattern,
                                                             const AttentionPattern::Span& span) {
  return std::span(pattern.ranges).subspan(span.first_range, span.last_range - span.first_range);
}

// Whether any query of [query_begin, query_end) attends to any key of [key_begin, key_end).
inline bool attends(const AttentionPattern& pattern, const AttentionPattern::Group& group,
                    int64_t query_begin, int64_t query_end, int64_t key_begin, int64_t key_end) {
  for (const auto& span : spans_from(pattern, group, query_begin)) {
    if (span.query_begin >= query_end) break;
    for (const auto& range : ranges_of(pattern, span)) {
      if (range.begin < key_end && range.end > key_begin) return true;
    }
  }
  return false;
}

// hole(query_begin, query_end, key_begin, key_end) for rectangles that together are all the pairs
// of the block in which the query does not attend to the key.
template <class F>
void for_each_hole(const AttentionPattern& pattern, const AttentionPattern::Group& group,
                   int64_t query_begin, int64_t query_end, int64_t key_begin, int64_t key_end,
                   F&& hole) {
  int64_t query = query_begin;
  for (const auto& span : spans_from(pattern, group, query_begin)) {
    if (span.query_begin >= query_end) break;
    if (span.query_begin > query) {
      hole(query, int64_t{span.query_begin}, key_begin, key_end);
      query = span.query_begin;
    }
    const int64_t end = std::min<int64_t>(span.query_end, query_end);
    int64_t key = key_begin;
    for (const auto& range : ranges_of(pattern, span)) {
      if (range.begin >= key_end) break;
      if (range.begin > key) hole(query, end, key, int64_t{range.begin});
      key = std::max<int64_t>(key, range.end);
    }
    if (key < key_end) hole(query, end, key, key_end);
    query = end;
  }
  if (query < query_end) hole(query, query_end, key_begin, key_end);
}

// Runs of neighbouring tiles, each at most `longest`: run(first, last) over the tiles of
// [0, count) for which `active(tile)`.
template <class Active, class Run>
void for_each_run(int64_t count, int64_t longest, Active&& active, Run&& run) {
  for (int64_t tile = 0; tile < count;) {
    if (!active(tile)) {
      ++tile;
      continue;
    }
    int64_t last = tile + 1;
    while (last < count && last - tile < longest && active(last)) ++last;
    run(tile, last);
    tile = last;
  }
}

inline constexpr float kMasked = -std::numeric_limits<float>::infinity();

}  // namespace unmask
