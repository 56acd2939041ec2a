#include "unmask/kernels/attention_patterns.h"

#include <functional>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

// [query][key]: how often the pattern lists the pair.
std::vector<std::vector<int>> listed_pairs(const AttentionPattern& pattern, int32_t rows) {
  std::vector<std::vector<int>> pairs(rows, std::vector<int>(rows, 0));
  for (const auto& span : pattern.spans) {
    for (int32_t r = span.first_range; r < span.last_range; ++r) {
      for (int32_t q = span.query_begin; q < span.query_end; ++q) {
        for (int32_t k = pattern.ranges[r].begin; k < pattern.ranges[r].end; ++k) ++pairs[q][k];
      }
    }
  }
  return pairs;
}

void expect_mask(const AttentionPattern& pattern, int32_t rows,
                 const std::function<bool(int32_t, int32_t)>& attends) {
  const auto pairs = listed_pairs(pattern, rows);
  for (int32_t q = 0; q < rows; ++q) {
    for (int32_t k = 0; k < rows; ++k) {
      ASSERT_EQ(pairs[q][k], attends(q, k) ? 1 : 0) << "query " << q << ", key " << k;
    }
  }
}

// What kernels/attention.h promises about spans, ranges and groups.
void expect_well_formed(const AttentionPattern& pattern) {
  int32_t span = 0, query = 0, range = 0, key = 0;
  for (const auto& group : pattern.groups) {
    EXPECT_EQ(group.first_span, span);
    EXPECT_LT(group.first_span, group.last_span);
    EXPECT_LE(key, group.key_begin);
    for (; span < group.last_span; ++span) {
      const auto& s = pattern.spans[span];
      EXPECT_LE(query, s.query_begin);
      EXPECT_LT(s.query_begin, s.query_end);
      query = s.query_end;
      EXPECT_EQ(s.first_range, range);
      int32_t end = group.key_begin;
      for (; range < s.last_range; ++range) {
        const auto& r = pattern.ranges[range];
        EXPECT_LE(end, r.begin);
        EXPECT_LT(r.begin, r.end);
        EXPECT_LE(r.end, group.key_end);
        end = r.end;
      }
    }
    key = group.key_end;
  }
  EXPECT_EQ(span, static_cast<int32_t>(pattern.spans.size()));
  EXPECT_EQ(range, static_cast<int32_t>(pattern.ranges.size()));
}

// Three sequences of 12, 8 and 10 rows; the second is all padding, the third holds one token.
const std::vector<int32_t> kBegin = {0, 12, 20, 30};
const std::vector<int32_t> kLength = {11, 0, 1};

struct Place {
  int32_t sequence, position;
  bool real;
};
Place place_of(int32_t row, const SequenceRows& sequences) {
  int32_t b = 0;
  while (sequences.begin[b + 1] <= row) ++b;
  const int32_t position = row - sequences.begin[b];
  return {b, position, position < sequences.length_of(b)};
}

TEST(AttentionPatterns, FullAttendsWithinRealTokensOfASequence) {
  for (const auto& length : {kLength, std::vector<int32_t>{}}) {
    const SequenceRows sequences{kBegin, length};
    AttentionPattern pattern;
    full_attention(sequences, pattern);
    expect_well_formed(pattern);
    expect_mask(pattern, 30, [&](int32_t q, int32_t k) {
      const Place a = place_of(q, sequences), b = place_of(k, sequences);
      return a.real && b.real && a.sequence == b.sequence;
    });
  }
}

TEST(AttentionPatterns, DocumentsDoNotSeeEachOther) {
  // Bounds at a sequence's start, inside it, in padding, and past the last sequence.
  const std::vector<int32_t> bounds = {0, 3, 7, 11, 16, 20, 25, 40};
  for (const auto& length : {kLength, std::vector<int32_t>{}}) {
    const SequenceRows sequences{kBegin, length};
    AttentionPattern pattern;
    document_attention(sequences, bounds, pattern);
    expect_well_formed(pattern);
    const auto document_of = [&](int32_t row) {
      int32_t document = 0;
      for (const int32_t bound : bounds) document += bound <= row;
      return document;
    };
    expect_mask(pattern, 30, [&](int32_t q, int32_t k) {
      const Place a = place_of(q, sequences), b = place_of(k, sequences);
      return a.real && b.real && a.sequence == b.sequence && document_of(q) == document_of(k);
    });
  }
}

TEST(AttentionPatterns, BlockCausalSeesBlocksUpToItsOwn) {
  for (const int32_t block : {1, 3, 4, 64}) {
    for (const auto& length : {kLength, std::vector<int32_t>{}}) {
      const SequenceRows sequences{kBegin, length};
      AttentionPattern pattern;
      block_causal_attention(sequences, block, pattern);
      expect_well_formed(pattern);
      expect_mask(pattern, 30, [&](int32_t q, int32_t k) {
        const Place a = place_of(q, sequences), b = place_of(k, sequences);
        return a.real && b.real && a.sequence == b.sequence &&
               b.position / block <= a.position / block;
      });
    }
  }
}

TEST(AttentionPatterns, BlockCausalBehindACacheSeesAllPositionsUpToItsBlock) {
  const int32_t first = 5, end = 17;
  for (const int32_t block : {1, 3, 4, 64}) {
    AttentionPattern pattern;
    block_causal_attention_from(first, end, block, pattern);
    for (const auto& span : pattern.spans) {
      ASSERT_EQ(span.last_range - span.first_range, 1);
      const auto& keys = pattern.ranges[static_cast<size_t>(span.first_range)];
      EXPECT_EQ(keys.begin, 0);
      for (int32_t q = span.query_begin; q < span.query_end; ++q) {
        EXPECT_EQ(keys.end, std::min(((first + q) / block + 1) * block, end)) << q;
      }
    }
    EXPECT_EQ(pattern.spans.front().query_begin, 0);
    EXPECT_EQ(pattern.spans.back().query_end, end - first);
  }
}

TEST(AttentionPatterns, BlockDiffusionHasItsThreeParts) {
  for (const int32_t block : {1, 2, 4, 64}) {
    for (const auto& length : {std::vector<int32_t>{5, 0, 1}, std::vector<int32_t>{}}) {
      const SequenceRows sequences{kBegin, length};
      AttentionPattern pattern;
      block_diffusion_attention(sequences, block, pattern);
      expect_well_formed(pattern);
      expect_mask(pattern, 30, [&](int32_t q, int32_t k) {
        const auto half_of = [&](int32_t row) {
          const int32_t b = place_of(row, sequences).sequence;
          const int32_t half = (kBegin[b + 1] - kBegin[b]) / 2;
          const int32_t position = row - kBegin[b];
          const int32_t real = length.empty() ? half : length[b];
          struct {
            int32_t sequence;
            bool noisy, real;
            int32_t block;
          } result{b, position < half, position % half < real, position % half / block};
          return result;
        };
        const auto a = half_of(q), b = half_of(k);
        if (!a.real || !b.real || a.sequence != b.sequence) return false;
        if (a.noisy && b.noisy) return a.block == b.block;
        if (a.noisy) return b.block < a.block;
        return !b.noisy && b.block <= a.block;
      });
    }
  }
}

TEST(AttentionPatterns, BuildersReuseCapacity) {
  const std::vector<int32_t> begin = {0, 64, 128};
  AttentionPattern pattern;
  block_diffusion_attention({begin, {}}, 4, pattern);
  const auto* spans = pattern.spans.data();
  const auto* ranges = pattern.ranges.data();
  full_attention({begin, {}}, pattern);
  block_causal_attention({begin, {}}, 8, pattern);
  block_diffusion_attention({begin, {}}, 4, pattern);
  EXPECT_EQ(pattern.spans.data(), spans);
  EXPECT_EQ(pattern.ranges.data(), ranges);
}

}  // namespace
}  // namespace unmask
