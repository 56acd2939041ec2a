#include "unmask/model/kv_cache.h"

#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/random.h"
#include "unmask/kernels/attention_patterns.h"
#include "unmask/model/model.h"

namespace unmask {
namespace {

constexpr int32_t kBlock = 32;

ModelConfig config_of(int32_t kv_heads) {
  ModelConfig config;
  config.vocab_size = 61;
  config.layers = 3;
  config.hidden = 48;
  config.heads = 4;
  config.kv_heads = kv_heads;
  config.head_dim = 32;  // fills the words of every kernel
  config.max_positions = 512;
  config.dense_layers = 1;
  config.dense_ffn = 40;
  config.experts = 8;
  config.expert_ffn = 24;
  config.shared_ffn = 24;
  config.routing.experts_per_token = 3;
  config.mask_token = 60;
  config.attention_block = kBlock;
  config.init_std = 0.2f;
  return config;
}

std::vector<int32_t> tokens_of(int32_t length) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < length; ++i) {
    tokens.push_back(
        static_cast<int32_t>(random_below({5, Purpose::synthetic}, 60, static_cast<uint64_t>(i))));
  }
  return tokens;
}

// One pass of `model` over tokens at [begin, end), against the cache when given, else [0, end).
class Pass {
 public:
  explicit Pass(Model& model) : model_(model) { tape_.mode = Tape::Mode::inference; }

  Matrix run(const std::vector<int32_t>& tokens, int32_t begin, int32_t end, KvCache* cache) {
    const bool full = model_.config().attention_block == 0;
    const int32_t rows = end - begin;
    const std::vector<int32_t> sequence = {0, rows};
    const std::vector<float> mask_ratio = {0.0f};
    std::vector<int32_t> positions(static_cast<size_t>(rows));
    std::iota(positions.begin(), positions.end(), begin);
    Batch batch;
    batch.tokens = std::span(tokens).subspan(begin, rows);
    batch.positions = positions;
    batch.route.sequence_begin = sequence;
    batch.route.mask_ratio = mask_ratio;
    batch.route.position = positions;
    AttentionPattern pattern;
    std::vector<CachedRows> cached(1);
    if (cache) {
      cached[0].cache = cache;
      cached[0].row_end = rows;
      cached[0].first = begin;
      if (full) {
        cached[0].attention = {.spans = {{0, rows, 0, 1}},
                               .ranges = {{0, cache->capacity()}},
                               .groups = {{0, 1, 0, cache->capacity()}}};
      } else {
        block_causal_attention_from(begin, end, kBlock, cached[0].attention);
      }
      batch.cached = cached;
    } else {
      const SequenceRows sequences{.begin = sequence, .length = {}};
      if (full) {
        full_attention(sequences, pattern);
      } else {
        block_causal_attention(sequences, kBlock, pattern);
      }
      batch.attention = &pattern;
    }
    return model_.forward(batch, tape_);
  }

 private:
  Model& model_;
  Tape tape_;
};

bool same_bits(ConstMatrix a, ConstMatrix b) {
  for (int64_t i = 0; i < a.rows; ++i) {
    if (std::memcmp(a.row(i), b.row(i), static_cast<size_t>(a.cols) * sizeof(float)) != 0) {
      return false;
    }
  }
  return a.rows == b.rows && a.cols == b.cols;
}

// Long enough that the attention goes over the keys in several runs.
TEST(KvCache, ABlockAgainstTheCacheHasTheBitsOfTheWholeSequence) {
  for (const auto& [kv_heads, precision] : {std::pair{1, Precision::f32},
                                            {4, Precision::f32},
                                            {1, Precision::bf16},
                                            {4, Precision::bf16}}) {
    Result<Model> model = Model::create(config_of(kv_heads), {.precision = precision});
    ASSERT_TRUE(model.ok());
    initialize(model->parameters(), 3);
    const std::vector<int32_t> tokens = tokens_of(330);
    Pass whole(*model), part(*model);
    KvCache cache(model->config(), 330, precision);
    for (const int32_t begin : {0, 96, 256, 288, 320}) {
      if (begin > 0) {  // the blocks before, several at once or one
        part.run(tokens, cache.length(), begin, &cache);
        cache.keep(begin - cache.length());
      }
      const int32_t end = std::min(begin + kBlock, 330);
      const Matrix expected = whole.run(tokens, 0, end, nullptr);
      const Matrix found = part.run(tokens, begin, end, &cache);
      EXPECT_TRUE(same_bits(found, expected.row_range(begin, end - begin)))
          << kv_heads << " kv heads, block at " << begin;
    }
  }
}

// Attention to the whole canvas: rows anywhere, against what a whole pass left.
TEST(KvCache, RowsInTheMiddleAttendToWhatEarlierPassesLeft) {
  ModelConfig config = config_of(2);
  config.attention_block = 0;
  Result<Model> model = Model::create(config);
  ASSERT_TRUE(model.ok());
  initialize(model->parameters(), 3);
  const std::vector<int32_t> tokens = tokens_of(300);
  Pass whole(*model), part(*model);
  KvCache cache(model->config(), 300, Precision::f32);
  const Matrix expected = whole.run(tokens, 0, 300, nullptr);
  EXPECT_TRUE(same_bits(part.run(tokens, 0, 300, &cache), expected));
  for (const auto& [begin, end] : {std::pair{64, 96}, {260, 300}, {0, 16}}) {
    const Matrix found = part.run(tokens, begin, end, &cache);
    EXPECT_TRUE(same_bits(found, expected.row_range(begin, end - begin))) << begin;
  }
  // Tokens outside of the rows are not looked at, those inside are.
  std::vector<int32_t> changed = tokens;
  changed[10] = changed[200] = 60;
  EXPECT_TRUE(same_bits(part.run(changed, 64, 96, &cache), expected.row_range(64, 32)));
  changed[70] = 60;
  EXPECT_FALSE(same_bits(part.run(changed, 64, 96, &cache), expected.row_range(64, 32)));
}

TEST(KvCache, WhatIsNotKeptLeavesNoTrace) {
  Result<Model> model = Model::create(config_of(2));
  ASSERT_TRUE(model.ok());
  initialize(model->parameters(), 3);
  const std::vector<int32_t> tokens = tokens_of(96);
  std::vector<int32_t> noisy = tokens;
  for (int32_t i = 32; i < 96; i += 2) noisy[i] = 60;
  Pass a(*model), b(*model);
  KvCache clean(model->config(), 96, Precision::f32), used(model->config(), 96, Precision::f32);
  for (const int32_t begin : {0, 32, 64}) {
    b.run(noisy, begin, begin + kBlock, &used);  // denoised first
    const Matrix expected = a.run(tokens, begin, begin + kBlock, &clean);
    const Matrix found = b.run(tokens, begin, begin + kBlock, &used);
    EXPECT_TRUE(same_bits(found, expected));
    clean.keep(kBlock);
    used.keep(kBlock);
  }
  EXPECT_EQ(used.length(), 96);
  EXPECT_EQ(used.bytes(), int64_t{3} * 2 * 96 * 2 * 32 * 4);
  EXPECT_EQ(KvCache(model->config(), 96, Precision::bf16).bytes(), used.bytes() / 2);
}

}  // namespace
}  // namespace unmask
