#include "unmask/checkpoint/parameter_source.h"

#include "tests/support/numeric.h"
#include "tests/support/temporary_directory.h"
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/random.h"
#include "unmask/checkpoint/hugging_face.h"

namespace unmask {
namespace {

ModelConfig small_source() {
  ModelConfig config;
  config.vocab_size = 300;
  config.layers = 2;
  config.hidden = 24;
  config.heads = 2;
  config.kv_heads = 2;
  config.head_dim = 12;
  config.experts = 8;
  config.expert_ffn = 10;
  config.shared_ffn = 6;
  config.routing.experts_per_token = 2;
  return config;
}

std::vector<float> read(const ParameterSource& source, int parameter) {
  std::vector<float> values(static_cast<size_t>(source.info(parameter).size()));
  source.read(parameter, 0, values);
  return values;
}

TEST(RandomParameters, AreThoseOfInitializeInPiecesOfAnySize) {
  const ModelConfig config = small_source();
  const RandomParameters source(config, 9);
  const Parameters expected(source.layout());
  initialize(expected, 9);
  for (int p = 0; p < std::ssize(source.layout().table); ++p) {
    const Matrix m = expected[p];
    for (const int64_t step : {int64_t{1}, int64_t{7}, m.size()}) {
      std::vector<float> values(static_cast<size_t>(m.size()));
      for (int64_t first = 0; first < m.size(); first += step) {
        const auto count = static_cast<size_t>(std::min(step, m.size() - first));
        source.read(p, first, std::span(values).subspan(static_cast<size_t>(first), count));
      }
      ASSERT_EQ(std::memcmp(values.data(), m.data, values.size() * sizeof(float)), 0)
          << source.info(p).name << " in pieces of " << step;
    }
  }
}

TEST(RandomParameters, SaveAsTheModelInitializeMakes) {
  const ModelConfig config = small_source();
  const test::TemporaryDirectory directory;
  const RandomParameters source(config, 3);
  ASSERT_TRUE(save_model(directory.path(), source).ok());
  const Parameters loaded(source.layout()), expected(source.layout());
  ASSERT_TRUE(load_parameters(directory.path(), config, loaded).ok());
  initialize(expected, 3);
  EXPECT_EQ(std::memcmp(loaded.flat().data(), expected.flat().data(), loaded.flat().size_bytes()),
            0);
}

float normal_of(uint64_t seed, int parameter, int64_t expert) {
  return random_normal({seed, Purpose::initialization}, static_cast<uint64_t>(expert),
                       static_cast<uint32_t>(parameter), 1);
}

TEST(RandomParameters, SkewTheSelectionBias) {
  ModelConfig config = small_source();
  config.expert_bias = true;
  const RandomParameters even(config, 3), skewed(config, 3, 0.25f);
  const auto& layer = even.layout().layers[1];
  EXPECT_EQ(read(even, layer.expert_bias), std::vector<float>(8, 0.0f));
  EXPECT_EQ(read(even, layer.router), read(skewed, layer.router));
  const auto bias = read(skewed, layer.expert_bias);
  for (int64_t e = 0; e < 8; ++e) {
    EXPECT_EQ(bias[static_cast<size_t>(e)], 0.25f * normal_of(3, layer.expert_bias, e));
  }
  EXPECT_NE(bias, read(skewed, even.layout().layers[0].expert_bias));
}

TEST(RandomParameters, SkewRowsOfTheRouterWithoutABias) {
  const ModelConfig config = small_source();
  const RandomParameters even(config, 3), skewed(config, 3, 0.5f);
  const int router = even.layout().layers[1].router;
  const auto before = read(even, router), after = read(skewed, router);
  for (int64_t e = 0; e < 8; ++e) {
    const float factor = std::exp(0.5f * normal_of(3, router, e));
    for (int64_t j = e * 24; j < (e + 1) * 24; ++j) {
      EXPECT_FLOAT_EQ(after[static_cast<size_t>(j)], factor * before[static_cast<size_t>(j)]);
    }
  }
  // A piece that begins inside a row has the same numbers.
  std::vector<float> piece(40);
  skewed.read(router, 30, piece);
  EXPECT_TRUE(std::equal(piece.begin(), piece.end(), after.begin() + 30));
  EXPECT_EQ(read(even, even.layout().embedding), read(skewed, even.layout().embedding));
}

}  // namespace
}  // namespace unmask
