#include "tests/model/packed_model.h"

#include "tests/model/model_cases.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace unmask {
namespace {

class EveryPackedModel : public testing::TestWithParam<ModelCase> {
 protected:
  const ModelConfig& config() const { return GetParam().config; }
  TestBatch batch_{config(), {29, 17, 23}};
  Model model_ = random_model(config());

  TestMatrix logits_of(Model& model) {
    Tape tape;
    tape.mode = Tape::Mode::inference;
    model.forward(batch_.get(), tape);
    std::vector<int32_t> rows(batch_.tokens.size());
    std::iota(rows.begin(), rows.end(), 0);
    TestMatrix logits(std::ssize(rows), config().vocab_size);
    model.head_forward(tape, rows, logits);
    return logits;
  }
};

// Of the row in the middle: the length of the difference, in units of the expected row's.
double median_distance(ConstMatrix rows, ConstMatrix expected) {
  std::vector<double> distances;
  for (int64_t i = 0; i < rows.rows; ++i) {
    double difference = 0, size = 0;
    for (int64_t j = 0; j < rows.cols; ++j) {
      difference += std::pow(double{rows(i, j)} - double{expected(i, j)}, 2);
      size += std::pow(double{expected(i, j)}, 2);
    }
    distances.push_back(std::sqrt(difference / size));
  }
  std::ranges::nth_element(distances, distances.begin() + rows.rows / 2);
  return distances[static_cast<size_t>(rows.rows / 2)];
}

// A level of int8 is 1/127 of a group's largest weight, of int4 1/7, and each layer adds its own; a
// wrong tensor gives about 1.4. Rows near the border of two experts may choose the other, and are
// then far away: hence the median.
TEST_P(EveryPackedModel, LogitsAreThoseOfThePlainModel) {
  const TestMatrix expected = logits_of(model_);
  for (const auto& [format, most] : {std::pair(WeightFormat::bf16, 0.03),
                                     {WeightFormat::int8, 0.1},
                                     {WeightFormat::int4, 0.6}}) {
    const auto packed = std::make_shared<PackedModel>(model_, format);
    auto forward_only = Model::from_weights(config(), {}, packed->weights(), packed);
    ASSERT_TRUE(forward_only.ok());
    EXPECT_LT(median_distance(logits_of(*forward_only).view(), expected.view()), most)
        << name_of(format);
    EXPECT_TRUE(forward_only->parameters().empty());
  }
}

// Layer after layer, twice, with room for hardly more than one layer's experts: the same bits.
TEST_P(EveryPackedModel, CachedExpertsGiveTheSameBits) {
  const auto packed = std::make_shared<PackedModel>(model_, WeightFormat::int8);
  auto resident = Model::from_weights(config(), {}, packed->weights(), packed);
  const TestMatrix expected = logits_of(*resident);

  ModelWeights weights = packed->weights();
  std::vector<QuantizedExperts> all;
  for (ModelWeights::Layer& layer : weights.layers) {
    if (const auto* experts = std::get_if<QuantizedExperts>(&layer.moe.experts)) {
      all.push_back(*experts);
    }
  }
  if (all.empty()) return;
  const ExpertForm form = all[0].form;
  auto cache = ExpertCache::create(
      form, static_cast<int32_t>(all.size()), config().experts,
      (config().experts + 1) * form.bytes(),
      [&](int32_t layer, int32_t expert, std::span<std::byte> record) {
        std::memcpy(record.data(), all[static_cast<size_t>(layer)].records[expert], record.size());
        return Status();
      });
  ASSERT_TRUE(cache.ok());
  int32_t index = 0;
  for (ModelWeights::Layer& layer : weights.layers) {
    if (std::holds_alternative<QuantizedExperts>(layer.moe.experts)) {
      layer.moe.experts = CachedExperts{cache->get(), index++};
    }
  }
  auto cached = Model::from_weights(config(), {}, weights, packed);
  EXPECT_EQ(logits_of(*cached), expected);
  EXPECT_EQ(logits_of(*cached), expected);
  EXPECT_GT((*cache)->counts().read, 0);
}

INSTANTIATE_TEST_SUITE_P(Packed, EveryPackedModel, testing::ValuesIn(model_cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace unmask
