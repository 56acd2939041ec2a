#include "unmask/model/parameters.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/parallel.h"

namespace unmask {
namespace {

ModelConfig small() {
  ModelConfig config;
  config.vocab_size = 19;
  config.layers = 3;
  config.hidden = 20;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.dense_layers = 1;
  config.dense_ffn = 24;
  config.experts = 8;
  config.expert_ffn = 7;
  config.shared_ffn = 14;
  config.shared_experts = 2;
  config.routing.experts_per_token = 3;
  config.mask_token = 18;
  config.expert_bias = true;
  config.qkv_bias = true;
  config.linear_bias = true;
  return config;
}

TEST(ParameterLayout, HoldsEveryMatrixAlignedAndApart) {
  const ModelConfig config = small();
  const ParameterLayout layout(config);
  std::set<std::string> names;
  int64_t end = 0;
  for (const ParameterInfo& p : layout.table) {
    EXPECT_EQ(p.offset % 16, 0) << p.name;
    EXPECT_GE(p.offset, end) << p.name;
    EXPECT_LT(p.offset - end, 16) << p.name;
    end = p.offset + p.size();
    EXPECT_TRUE(names.insert(p.name).second) << p.name;
  }
  EXPECT_GE(layout.size, end);
  EXPECT_LT(layout.size - end, 16);

  const auto expect_shape = [&](const char* name, int64_t rows, int64_t cols) {
    const int index = layout.find(name);
    ASSERT_GE(index, 0) << name;
    EXPECT_EQ(layout.table[index].rows, rows) << name;
    EXPECT_EQ(layout.table[index].cols, cols) << name;
  };
  expect_shape("embedding", 19, 20);
  expect_shape("layers.0.dense.gate", 24, 20);
  expect_shape("layers.0.dense.down", 20, 24);
  expect_shape("layers.1.attention.qkv", 48, 20);
  expect_shape("layers.1.attention.out", 20, 24);
  expect_shape("layers.2.router", 8, 20);
  expect_shape("layers.2.experts.gate", 56, 20);
  expect_shape("layers.2.experts.down", 160, 7);
  expect_shape("layers.2.shared.up", 14, 20);
  expect_shape("layers.2.expert_bias", 1, 8);
  EXPECT_EQ(layout.find("layers.0.router"), -1);
  EXPECT_EQ(layout.find("layers.3.router"), -1);
  EXPECT_EQ(layout.layers[0].router, -1);
  EXPECT_EQ(layout.layers[2].expert_up, layout.find("layers.2.experts.up"));
  EXPECT_EQ(layout.layers[0].shared_up, layout.find("layers.0.dense.up"));
}

TEST(ParameterLayout, SharesATiedHead) {
  ModelConfig config = small();
  EXPECT_NE(ParameterLayout(config).head, ParameterLayout(config).embedding);
  config.tied_head = true;
  const ParameterLayout layout(config);
  EXPECT_EQ(layout.head, layout.embedding);
  EXPECT_EQ(layout.find("head"), -1);
}

TEST(ParameterLayout, DecaysMatricesOnly) {
  const ParameterLayout layout(small());
  for (const ParameterInfo& p : layout.table) {
    EXPECT_EQ(p.decays, p.rows > 1) << p.name;
    EXPECT_EQ(p.trained, p.name.find("expert_bias") == std::string::npos) << p.name;
  }
}

TEST(Initialize, GivesEachParameterItsDistribution) {
  ModelConfig config = small();
  config.hidden = 96;
  config.vocab_size = 400;
  const ParameterLayout layout(config);
  const Parameters parameters(layout);
  initialize(parameters, 3);
  for (size_t i = 0; i < layout.table.size(); ++i) {
    const ParameterInfo& p = layout.table[i];
    const Matrix m = parameters[static_cast<int>(i)];
    if (p.rows == 1) {
      const float constant = p.name.find("norm") != std::string::npos ? 1.0f : 0.0f;
      for (int64_t j = 0; j < p.cols; ++j) EXPECT_EQ(m(0, j), constant) << p.name;
      continue;
    }
    const bool residual = p.name.ends_with("down") || p.name.ends_with("attention.out");
    const double expected = residual ? 0.02 / std::sqrt(6.0) : 0.02;
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < p.size(); ++j) {
      sum += m.data[j];
      squares += double{m.data[j]} * m.data[j];
    }
    const auto n = static_cast<double>(p.size());
    // Five standard errors of a mean and of a variance of normals.
    EXPECT_NEAR(sum / n, 0, 5 * expected / std::sqrt(n)) << p.name;
    EXPECT_NEAR(squares / n / (expected * expected), 1, 5 * std::sqrt(2 / n)) << p.name;
  }
}

TEST(Initialize, IsAFunctionOfSeedParameterAndElement) {
  ModelConfig config = small();
  config.vocab_size = 20000;  // several tasks
  const ParameterLayout layout(config);
  const auto values = [&](int threads, uint64_t seed) {
    const int before = thread_count();
    set_thread_count(threads);
    const Parameters parameters(layout);
    initialize(parameters, seed);
    set_thread_count(before);
    const auto flat = parameters.flat();
    return std::vector<float>(flat.begin(), flat.end());
  };
  EXPECT_EQ(values(1, 7), values(2, 7));
  EXPECT_NE(values(1, 7), values(1, 8));

  const Parameters parameters(layout);
  initialize(parameters, 7);
  const Matrix up = parameters[layout.layers[1].expert_up];
  const Matrix gate = parameters[layout.layers[1].expert_gate];
  EXPECT_NE(up(0, 0), gate(0, 0));
  EXPECT_NE(up(0, 0), parameters[layout.layers[2].expert_up](0, 0));
}

TEST(Initialize, APartIsThatOfTheWhole) {
  const ParameterLayout layout(small());
  const Parameters whole(layout);
  initialize(whole, 7);
  const int index = layout.find("layers.2.experts.gate");
  const int64_t size = layout.table[index].size();
  for (const int64_t first : {int64_t{0}, int64_t{1}, int64_t{6}, int64_t{21}, size - 3}) {
    std::vector<float> part(static_cast<size_t>(std::min<int64_t>(size - first, 20)));
    initialize(layout, index, 7, first, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole[index].data + first)) << first;
  }
}

TEST(Validate, AcceptsTheDefaultsAndTheSmallModel) {
  EXPECT_TRUE(validate(ModelConfig{}).ok());
  EXPECT_TRUE(validate(small()).ok());
}

TEST(Validate, NamesKeyValueAndWhatIsPermitted) {
  struct Case {
    void (*spoil)(ModelConfig&);
    std::vector<std::string> words;
  };
  const Case cases[] = {
      {[](ModelConfig& c) { c.kv_heads = 3; }, {"kv_heads = 3", "heads (4)"}},
      {[](ModelConfig& c) { c.kv_heads = 0; }, {"kv_heads = 0", "from 1"}},
      {[](ModelConfig& c) { c.head_dim = 7; }, {"head_dim = 7", "even"}},
      {[](ModelConfig& c) { c.rope_fraction = 1.5f; }, {"rope_fraction = 1.5", "0 to 1"}},
      {[](ModelConfig& c) { c.rope_fraction = NAN; }, {"rope_fraction = nan"}},
      {[](ModelConfig& c) { c.routing.experts_per_token = 9; },
       {"experts_per_token", "1 to 8", "found 9"}},
      {[](ModelConfig& c) { c.mask_token = 19; }, {"mask_token = 19", "0 to 18"}},
      {[](ModelConfig& c) { c.pad_token = -1; }, {"pad_token = -1", "0 to 18"}},
      {[](ModelConfig& c) { c.end_token = c.mask_token; }, {"mask_token = 18", "end_token"}},
      {[](ModelConfig& c) {
         c.routing.weights = RoutingPolicy::Weights::sigmoid;
         c.routing.groups = {3, 2};
       },
       {"groups.count", "8 experts", "found 3"}},
      {[](ModelConfig& c) { c.dense_layers = 4; }, {"dense_layers = 4", "0 to 3"}},
      {[](ModelConfig& c) { c.dense_ffn = 0; }, {"dense_ffn = 0"}},
      {[](ModelConfig& c) { c.hidden = -2; }, {"hidden = -2", "from 1"}},
      {[](ModelConfig& c) { c.shared_experts = 0; }, {"shared_experts = 0", "from 1"}},
      {[](ModelConfig& c) { c.other_end_tokens = {19}; }, {"end_token = 19", "0 to 18"}},
      {[](ModelConfig& c) {
         c.max_positions = 1 << 24;
         c.head_dim = 32;
       },
       {"max_positions = 16777216", "at most 268435456"}},
      {[](ModelConfig& c) {
         c.layers = 1 << 10;
         c.hidden = 1 << 16;
         c.experts = 64;
         c.expert_ffn = 1 << 18;
       },
       {"layers = 1024", "1e+15 are the most"}},
      {[](ModelConfig& c) { c.init_std = 0; }, {"init_std = 0", "above 0"}},
      {[](ModelConfig& c) { c.norm_epsilon = -1; }, {"norm_epsilon = -1", "positive"}},
  };
  for (const Case& one : cases) {
    ModelConfig config = small();
    one.spoil(config);
    const Status status = validate(config);
    ASSERT_FALSE(status.ok()) << one.words[0];
    EXPECT_EQ(status.error().kind, Error::Kind::usage);
    for (const std::string& word : one.words) {
      EXPECT_NE(status.error().message.find(word), std::string::npos)
          << word << " not in: " << status.error().message;
    }
  }
}

TEST(Validate, NamesAllProblemsAtOnce) {
  ModelConfig config = small();
  config.kv_heads = 3;
  config.mask_token = 400;
  const Status status = validate(config);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("kv_heads"), std::string::npos);
  EXPECT_NE(status.error().message.find("mask_token"), std::string::npos);
}

}  // namespace
}  // namespace unmask
