#include "unmask/diffusion/objective.h"

#include "tests/diffusion/tiny_model.h"
#include "tests/support/numeric.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using Kind = ObjectiveOptions::Kind;
constexpr Kind kKinds[] = {Kind::elbo, Kind::plain, Kind::sft, Kind::block};

// Six sequences of up to 12 tokens, with prompts and padding.
struct ObjectiveData {
  static constexpr int32_t kSequences = 6, kLength = 12;
  std::vector<int32_t> tokens = random_ids(kSequences * kLength, kTinyEnd, 3);
  std::vector<int32_t> prompt = {0, 3, 5, 0, 1, 2};
  std::vector<int32_t> length = {12, 12, 9, 7, 12, 10};

  CleanBatch part(int64_t begin, int64_t count) const {
    CleanBatch clean;
    clean.tokens = {tokens.data() + begin * kLength, count, kLength};
    clean.prompt_length = std::span(prompt).subspan(begin, count);
    clean.real_length = std::span(length).subspan(begin, count);
    clean.first_sequence = begin;
    clean.batch_sequences = kSequences;
    return clean;
  }
  CleanBatch all() const { return part(0, kSequences); }
};

Objective make(Kind kind, float confidence = 0) {
  ObjectiveOptions options;
  options.kind = kind;
  options.confidence = confidence;
  options.block_size = 4;
  if (kind == Kind::block) options.mask_ratio = {0.3f, 0.8f};
  Result<Objective> objective = Objective::create(options, tiny_config(), 11);
  UNMASK_CHECK(objective.ok());
  return *objective;
}

PreparedBatch prepare(const Objective& objective, const CleanBatch& clean, const StepTotals& totals,
                      uint64_t step = 5) {
  PreparedBatch prepared;
  objective.prepare(clean, step, totals, prepared);
  return prepared;
}

TEST(Objective, MasksOnlyTheResponseAndPredictsCleanTokens) {
  const ObjectiveData data;
  for (const Kind kind : kKinds) {
    const Objective objective = make(kind);
    const CleanBatch clean = data.all();
    const PreparedBatch prepared = prepare(objective, clean, objective.totals(clean, 5));
    const Batch batch = prepared.forward.batch();
    const int32_t halves = kind == Kind::block ? 2 : 1;

    int32_t row = 0, supervised = 0;
    for (int32_t b = 0; b < ObjectiveData::kSequences; ++b) {
      int32_t masked = 0;
      const int32_t first = row;
      for (int32_t i = 0; i < data.length[b]; ++i, ++row) {
        const int32_t token = clean.tokens(b, i);
        EXPECT_EQ(batch.positions[row], i);
        if (batch.route.masked[row]) {
          EXPECT_GE(i, data.prompt[b]);
          EXPECT_EQ(batch.tokens[row], kTinyMask);
          EXPECT_EQ(prepared.rows[supervised], row);
          EXPECT_EQ(prepared.targets[supervised], token);
          ++masked;
          ++supervised;
        } else {
          EXPECT_EQ(batch.tokens[row], token);
        }
      }
      EXPECT_GE(masked, 1);
      EXPECT_EQ(prepared.masked(b), masked);
      EXPECT_EQ(batch.route.sequence_begin[b * halves], first);
      EXPECT_EQ(batch.route.sequence_begin[b * halves + 1], row);
      EXPECT_FLOAT_EQ(batch.route.mask_ratio[b * halves],
                      static_cast<float>(masked) / static_cast<float>(data.length[b]));
      if (kind != Kind::block) continue;
      for (int32_t i = 0; i < data.length[b]; ++i, ++row) {
        EXPECT_EQ(batch.positions[row], i);
        EXPECT_EQ(batch.tokens[row], clean.tokens(b, i));
        EXPECT_EQ(batch.route.masked[row], 0);
      }
      EXPECT_EQ(batch.route.mask_ratio[b * 2 + 1], 0.0f);
    }
    EXPECT_EQ(row, batch.size());
    EXPECT_EQ(supervised, std::ssize(prepared.rows));
  }
}

TEST(Objective, WeightsAreThoseOfTheTable) {
  const ObjectiveData data;
  const CleanBatch clean = data.all();
  for (const Kind kind : kKinds) {
    const Objective objective = make(kind);
    const StepTotals totals = objective.totals(clean, 5);
    const PreparedBatch prepared = prepare(objective, clean, totals);
    EXPECT_EQ(totals.sequences, ObjectiveData::kSequences);
    EXPECT_EQ(totals.masked, std::ssize(prepared.rows));
    for (int32_t b = 0; b < ObjectiveData::kSequences; ++b) {
      const double m = static_cast<double>(prepared.masked(b));
      const double expected = kind == Kind::elbo    ? 1 / (m * 6)
                              : kind == Kind::plain ? 1 / (data.length[b] * 6.0)
                                                    : 1 / static_cast<double>(totals.masked);
      for (int32_t i = prepared.masked_begin[b]; i < prepared.masked_begin[b + 1]; ++i) {
        EXPECT_FLOAT_EQ(prepared.weight[i], static_cast<float>(expected));
      }
    }
    EXPECT_EQ(prepared.balance_scale, 1.0f);
  }
}

TEST(Objective, MicroBatchesSeeTheNoiseOfTheWholeBatch) {
  const ObjectiveData data;
  for (const Kind kind : kKinds) {
    const Objective objective = make(kind);
    const StepTotals totals = objective.totals(data.all(), 5);
    const StepTotals parts =
        objective.totals(data.part(0, 2), 5) + objective.totals(data.part(2, 4), 5);
    EXPECT_EQ(parts.masked, totals.masked);
    EXPECT_EQ(parts.sequences, totals.sequences);

    const PreparedBatch whole = prepare(objective, data.all(), totals);
    std::vector<int32_t> targets;
    std::vector<float> weight;
    float balance_scale = 0;
    for (const auto& [begin, count] : {std::pair{0, 2}, std::pair{2, 4}}) {
      const PreparedBatch part = prepare(objective, data.part(begin, count), totals);
      targets.insert(targets.end(), part.targets.begin(), part.targets.end());
      weight.insert(weight.end(), part.weight.begin(), part.weight.end());
      balance_scale += part.balance_scale;
    }
    EXPECT_EQ(targets, whole.targets);
    EXPECT_EQ(weight, whole.weight);
    EXPECT_FLOAT_EQ(balance_scale, whole.balance_scale);

    EXPECT_NE(prepare(objective, data.all(), objective.totals(data.all(), 6), 6).rows, whole.rows)
        << "the next step draws anew";
  }
}

// Which keys each query may see, spelled out.
std::vector<std::vector<int32_t>> keys_of(const AttentionPattern& pattern, int64_t rows) {
  std::vector<std::vector<int32_t>> keys(rows);
  for (const auto& span : pattern.spans) {
    for (int32_t q = span.query_begin; q < span.query_end; ++q) {
      for (int32_t r = span.first_range; r < span.last_range; ++r) {
        for (int32_t k = pattern.ranges[r].begin; k < pattern.ranges[r].end; ++k) {
          keys[q].push_back(k);
        }
      }
    }
  }
  return keys;
}

TEST(Objective, BlockAttentionIsTheThreePartMask) {
  const ObjectiveData data;
  const Objective objective = make(Kind::block);
  const PreparedBatch prepared = prepare(objective, data.all(), objective.totals(data.all(), 5));
  const Batch batch = prepared.forward.batch();
  const auto keys = keys_of(*batch.attention, batch.size());
  int32_t first = 0;
  for (const int32_t n : data.length) {
    for (int32_t i = 0; i < 2 * n; ++i) {
      std::vector<int32_t> expected;
      const bool noisy = i < n;
      const int32_t block = i % n / 4;
      for (int32_t j = 0; j < 2 * n; ++j) {
        const int32_t key_block = j % n / 4;
        const bool sees = j < n   ? noisy && key_block == block
                          : noisy ? key_block < block
                                  : key_block <= block;
        if (sees) expected.push_back(first + j);
      }
      EXPECT_EQ(keys[first + i], expected) << "row " << i << " of a sequence of " << n;
    }
    first += 2 * n;
  }
}

TEST(Objective, DocumentMaskCutsBehindEndTokens) {
  const std::vector<int32_t> tokens = {1, 2, kTinyEnd, 3, 4, kTinyEnd, 5, 6};
  ObjectiveOptions options;
  options.document_mask = true;
  const Objective objective = *Objective::create(options, tiny_config(), 1);
  CleanBatch clean;
  clean.tokens = {tokens.data(), 1, 8};
  const PreparedBatch prepared = prepare(objective, clean, objective.totals(clean, 5));
  const auto keys = keys_of(*prepared.forward.batch().attention, 8);
  EXPECT_EQ(keys[0], (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(keys[2], (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(keys[4], (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(keys[7], (std::vector<int32_t>{6, 7}));
}

TEST(Objective, RefusesImpossibleOptions) {
  EXPECT_FALSE(Objective::create({.mask_ratio = {0.9f, 0.1f}}, tiny_config(), 1).ok());
  EXPECT_FALSE(Objective::create({.confidence = -1}, tiny_config(), 1).ok());
  EXPECT_FALSE(Objective::create({.kind = Kind::block, .block_size = 0}, tiny_config(), 1).ok());
  EXPECT_FALSE(
      Objective::create({.kind = Kind::block, .document_mask = true}, tiny_config(), 1).ok());
}

TEST(Objective, LossOfHandMadeLogits) {
  std::vector<float> logits(kTinyVocab);
  for (int32_t v = 0; v < kTinyVocab; ++v) logits[v] = 0.1f * static_cast<float>(v * v % 23);
  double denominator = 0;
  for (const float z : logits) denominator += std::exp(z);
  Model model = constant_model(logits);
  Gradients gradients(model.layout());
  Tape tape;
  const ObjectiveData data;
  const CleanBatch clean = data.all();
  for (const Kind kind : kKinds) {
    const Objective objective = make(kind);
    const StepTotals totals = objective.totals(clean, 5);
    PreparedBatch prepared = prepare(objective, clean, totals);
    double expected = 0;
    for (int32_t b = 0; b < ObjectiveData::kSequences; ++b) {
      double sum = 0;
      const auto m = static_cast<double>(prepared.masked(b));
      for (int32_t i = prepared.masked_begin[b]; i < prepared.masked_begin[b + 1]; ++i) {
        sum += std::log(denominator) - logits[prepared.targets[i]];
      }
      switch (kind) {
        case Kind::elbo: {
          const double p = m / data.length[b];  // sum CE mask / p / (B S)
          expected += sum / p / (6.0 * data.length[b]);
          break;
        }
        case Kind::plain:
          expected += sum / (6.0 * data.length[b]);
          break;
        default:
          expected += sum / static_cast<double>(totals.masked);
      }
    }
    // A logit is a sum of 16 equal terms; a loss is a weighted mean of such.
    EXPECT_NEAR(measure_loss(model, prepared, tape), expected, expected * f32_tolerance(64));
    const StepLoss loss = train_step_loss(model, prepared, tape, gradients);
    EXPECT_NEAR(loss.cross_entropy, expected, expected * f32_tolerance(64));
  }
}

// A model that predicts one token everywhere: where that stands, the entropy counts.
TEST(Objective, ConfidenceTermIsTheEntropyOfRightPredictions) {
  const double sum = std::exp(2.5) + kTinyVocab - 1;
  const double entropy = std::log(sum) - 2.5 * std::exp(2.5) / sum;
  const ObjectiveData data;
  const CleanBatch clean = data.all();
  for (const Kind kind : kKinds) {
    const Objective objective = make(kind, 2.0f), plain = make(kind);
    const StepTotals totals = objective.totals(clean, 5);
    PreparedBatch prepared = prepare(objective, clean, totals);
    PreparedBatch without = prepare(plain, clean, totals);
    const int32_t predicted = prepared.targets[0];
    std::vector<float> logits(kTinyVocab, 0.0f);
    logits[predicted] = 2.5f;
    Model model = constant_model(logits);
    Gradients gradients(model.layout());
    Tape tape;

    double expected = 0;
    int64_t right = 0;
    for (size_t i = 0; i < prepared.targets.size(); ++i) {
      if (prepared.targets[i] != predicted) continue;
      expected += 2.0 * double{prepared.weight[i]} * entropy;
      ++right;
    }
    ASSERT_LT(right, std::ssize(prepared.targets));
    const StepLoss loss = train_step_loss(model, prepared, tape, gradients);
    EXPECT_NEAR(loss.confidence, expected, expected * f32_tolerance(64));
    EXPECT_EQ(std::ranges::count_if(prepared.entropy, [](float h) { return h > 0; }), right);
    const StepLoss plain_loss = train_step_loss(model, without, tape, gradients);
    EXPECT_EQ(plain_loss.confidence, 0);
    EXPECT_NEAR(loss.total(), plain_loss.total() + expected, 1e-5 * loss.total());
  }
}

std::vector<float> gradients_of(Model& model, const Objective& objective, const ObjectiveData& data,
                                const std::vector<std::pair<int64_t, int64_t>>& parts,
                                StepLoss& loss) {
  Gradients gradients(model.layout());
  Tape tape;
  const StepTotals totals = objective.totals(data.all(), 5);
  loss = {};
  for (const auto& [begin, count] : parts) {
    PreparedBatch prepared = prepare(objective, data.part(begin, count), totals);
    const StepLoss part = train_step_loss(model, prepared, tape, gradients);
    loss.cross_entropy += part.cross_entropy;
    loss.confidence += part.confidence;
    loss.balance += part.balance;
  }
  return {gradients.flat().begin(), gradients.flat().end()};
}

// ObjectiveData of which the model predicts some tokens rightly: every other one is the same.
ObjectiveData predictable_data(Model& model, const Objective& objective) {
  ObjectiveData data;
  for (int32_t token = 0; token < kTinyEnd; ++token) {
    for (size_t i = 0; i < data.tokens.size(); i += 2) data.tokens[i] = token;
    StepLoss loss;
    gradients_of(model, objective, data, {{0, 6}}, loss);
    if (loss.confidence > 0) break;
  }
  return data;
}

TEST(Objective, AccumulatedGradientsEqualThoseOfOneBatch) {
  for (const ModelConfig& config : {tiny_config(), tiny_expert_choice()}) {
    Model model = random_model(config);
    for (const Kind kind : kKinds) {
      const Objective objective = make(kind, 1.5f);
      const ObjectiveData data = predictable_data(model, objective);
      StepLoss whole_loss, part_loss;
      const auto whole = gradients_of(model, objective, data, {{0, 6}}, whole_loss);
      const auto parts = gradients_of(model, objective, data, {{0, 1}, {1, 3}, {4, 2}}, part_loss);
      // Sums over the 62 rows (124 doubled), through two layers of up to 16 x 4 terms each.
      EXPECT_TRUE(near(parts, whole, f32_tolerance(1024)));
      EXPECT_NEAR(part_loss.total(), whole_loss.total(), 1e-6 * whole_loss.total());
      EXPECT_GT(whole_loss.cross_entropy, 0.5);
      EXPECT_GT(whole_loss.confidence, 0.0);
    }
  }
}

// Along the gradient itself, which every parameter is part of.
TEST(Objective, GradientIsTheSlopeOfTheLoss) {
  for (const Objective& objective :
       {make(Kind::elbo), make(Kind::block), make(Kind::elbo, 2.0f), make(Kind::block, 2.0f)}) {
    Model model = random_model();
    const bool confident = objective.options().confidence > 0;
    const ObjectiveData data = confident ? predictable_data(model, objective) : ObjectiveData();
    StepLoss loss;
    const auto gradient = gradients_of(model, objective, data, {{0, 6}}, loss);
    EXPECT_EQ(loss.confidence > 0, confident);
    double square = 0;
    for (const float g : gradient) square += static_cast<double>(g) * g;
    const std::vector<float> start(model.parameters().flat().begin(),
                                   model.parameters().flat().end());
    const auto loss_at = [&](double distance) {
      for (size_t i = 0; i < start.size(); ++i) {
        model.parameters().flat()[i] =
            static_cast<float>(start[i] + distance * gradient[i] / std::sqrt(square));
      }
      StepLoss moved;
      gradients_of(model, objective, data, {{0, 6}}, moved);
      return moved.cross_entropy + moved.confidence;
    };
    const double h = 5e-4;  // no choice of an expert flips on the way
    const double slope = (loss_at(h) - loss_at(-h)) / (2 * h);
    // Truncation of order h^2, rounding of the loss (f32 sums) over h.
    EXPECT_NEAR(slope, std::sqrt(square), 1e-3 * std::sqrt(square) + 4e-7 * loss.total() / h);
  }
}

}  // namespace
}  // namespace unmask
