// Properties of the whole model that need no second implementation.

#include "tests/model/model_cases.h"
#include "tests/support/allocations.h"
#include "tests/support/every_thread.h"
#include <algorithm>
#include <cmath>
#include <limits>

#include "unmask/kernels/isa/isa.h"
#include "unmask/model/divergence.h"
#include "unmask/model/head.h"

namespace unmask {
namespace {

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }
std::vector<float> copy_of(ConstMatrix m) { return {m.data, m.data + m.size()}; }

class EveryModel : public testing::TestWithParam<ModelCase> {
 protected:
  const ModelConfig& config() const { return GetParam().config; }
  const ThreadCount one_thread_{1};  // unless a test is about threads
  TestBatch batch_{config(), {29, 17, 23}};

  // Gradients of one step, then of another on the same tape.
  std::vector<float> gradients_of(ModelOptions options, int threads, double* loss = nullptr) {
    const ThreadCount scope(threads);
    Model model = random_model(config(), 7, options);
    Tape tape;
    Gradients gradients(model.layout());
    step_of(model, batch_, tape, gradients);
    const StepResult result = step_of(model, batch_, tape, gradients);
    if (loss) *loss = result.loss;
    return copy_of(gradients.flat());
  }
};

TEST_P(EveryModel, GradientsAreTheSameBitsWithRecomputation) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    double kept = 0, again = 0;
    const auto a = gradients_of({.precision = precision, .recompute = false}, 1, &kept);
    const auto b = gradients_of({.precision = precision, .recompute = true}, 1, &again);
    EXPECT_EQ(kept, again);
    EXPECT_TRUE(a == b);
  }
}

TEST_P(EveryModel, GradientsAreTheSameBitsWithOneThreadAndWithTwo) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    EXPECT_TRUE(gradients_of({.precision = precision}, 1) ==
                gradients_of({.precision = precision}, 2));
  }
}

TEST_P(EveryModel, ExpertsRoundedAlreadyGiveTheSameBits) {
  const auto gradients_of = [&](bool keep_rounded) {
    Model model = random_model(config());
    model.options().precision = Precision::bf16;
    if (keep_rounded) {
      model.keep_rounded_experts();
      // As after training, or loading.
      for (float& value : model.parameters().flat()) value *= 1.1f;
      model.round_experts();
    } else {
      for (float& value : model.parameters().flat()) value *= 1.1f;
    }
    Tape tape;
    Gradients gradients(model.layout());
    step_of(model, batch_, tape, gradients);
    return std::vector<float>(gradients.flat().begin(), gradients.flat().end());
  };
  EXPECT_EQ(gradients_of(true), gradients_of(false));
}

TEST_P(EveryModel, GradientsAccumulate) {
  Model model = random_model(config());
  Tape tape;
  Gradients once(model.layout()), twice(model.layout());
  step_of(model, batch_, tape, once);
  step_of(model, batch_, tape, twice);
  step_of(model, batch_, tape, twice);
  for (int i = 0; i < static_cast<int>(model.layout().table.size()); ++i) {
    TestMatrix expected(once[i].rows, once[i].cols);
    for (int64_t j = 0; j < once[i].size(); ++j) expected.flat()[j] = 2 * once[i].data[j];
    // Each gradient is a sum over the batch's rows, and here begins from what was there.
    EXPECT_TRUE(near(twice[i], expected, f32_tolerance(2 * batch_.get().size())))
        << model.layout().table[i].name;
  }
}

TEST_P(EveryModel, GradientsBeginAnewWhenCleared) {
  Model model = random_model(config());
  Tape tape;
  Gradients once(model.layout()), cleared(model.layout());
  step_of(model, batch_, tape, once);
  step_of(model, batch_, tape, cleared);
  cleared.clear();
  step_of(model, batch_, tape, cleared);
  EXPECT_EQ(copy_of(cleared.flat()), copy_of(once.flat()));
}

TEST_P(EveryModel, InferenceGivesTheSameBitsAsTraining) {
  Model model = random_model(config());
  Tape training, inference;
  inference.mode = Tape::Mode::inference;
  const Matrix expected = model.forward(batch_.get(), training);
  const Matrix actual = model.forward(batch_.get(), inference);
  EXPECT_TRUE(copy_of(actual) == copy_of(expected));
  EXPECT_EQ(inference.layers.back().routing.assignment.token,
            training.layers.back().routing.assignment.token);
  EXPECT_LT(inference.arena.bytes_peak(), training.arena.bytes_peak() / 4);
}

TEST_P(EveryModel, MemoryIsWhatWasPlanned) {
  for (const Tape::Mode mode : {Tape::Mode::training, Tape::Mode::inference}) {
    for (const bool recompute : {false, true}) {
      Model model = random_model(config(), 7, {.recompute = recompute});
      Tape tape;
      tape.mode = mode;
      Gradients gradients(model.layout());
      int64_t slots = 0;
      if (mode == Tape::Mode::training) {
        step_of(model, batch_, tape, gradients);
      } else {
        loss_of(model, batch_, tape);
      }
      for (const auto& layer : tape.layers) {
        slots = std::max(slots, layer.routing.assignment.slots());
      }
      EXPECT_LE(slots, model.max_slots(batch_.sequence_begin));
      const TapePlan plan = plan_tape(config(), model.options(), mode, batch_.get().size(), slots);
      const auto near_plan = [](size_t used, size_t planned) {
        return used <= planned && static_cast<double>(used) >= 0.9 * static_cast<double>(planned);
      };
      EXPECT_PRED2(near_plan, tape.arena.bytes_peak(), plan.arena);
      EXPECT_PRED2(near_plan, tape.scratch.bytes_peak(), plan.scratch);
    }
  }
}

TEST_P(EveryModel, SteadyStateAllocatesNothing) {
  if (use_reference_kernels()) GTEST_SKIP() << "the plain kernels allocate";
  const ThreadCount two_threads(2);
  Model model = random_model(config());
  Tape tape;
  Gradients gradients(model.layout());
  StepResult result;
  result.row_loss.resize(batch_.loss_rows.size());
  const auto step = [&] {
    const Matrix hidden = model.forward(batch_.get(), tape);
    const Matrix d_hidden = tape.arena.matrix(hidden.rows, hidden.cols);
    std::fill_n(d_hidden.data, d_hidden.size(), 0.0f);
    model.head_loss(tape, batch_.loss_rows, batch_.targets, batch_.weight, result.row_loss,
                    d_hidden, &gradients);
    model.backward(batch_.get(), tape, d_hidden, 1.0f, gradients);
  };
  test::on_every_thread(step);
  step();
  const size_t reserved = tape.arena.bytes_reserved() + tape.scratch.bytes_reserved();
  const int64_t before = test::heap_allocations();
  step();
  EXPECT_EQ(test::heap_allocations() - before, 0);
  EXPECT_EQ(tape.arena.bytes_reserved() + tape.scratch.bytes_reserved(), reserved);
}

// What a sequence gets does not depend on who else is in the batch, nor on padding behind it.
TEST_P(EveryModel, SequencesDoNotSeeEachOtherNorPadding) {
  Model model = random_model(config());
  TestBatch batch(config(), {12, 20, 9});
  batch.pad(1, 6);
  // Expert choice by sequence: its own tokens compete for its experts, padding does not, but the
  // number of tokens that an expert takes follows the length; so compare at equal capacity.
  TestBatch alone(config(), {14});
  std::copy_n(batch.tokens.begin() + 12, 14, alone.tokens.begin());
  std::copy_n(batch.masked.begin() + 12, 14, alone.masked.begin());
  batch.mask_ratio[1] = alone.mask_ratio[0] = 0.25f;

  Tape together_tape, alone_tape;
  const Matrix together = model.forward(batch.get(), together_tape);
  const Matrix expected = model.forward(alone.get(), alone_tape);
  // A path of a few sums of at most 4 * hidden terms for each layer, normed after each.
  const double tolerance = 4 * config().layers * f32_tolerance(4 * config().hidden);
  EXPECT_TRUE(near(together.row_range(12, 14), expected, tolerance));
  for (const float value : copy_of(together)) ASSERT_TRUE(std::isfinite(value));
}

TEST_P(EveryModel, ProfileAddsUp) {
  Model model = random_model(config());
  Tape tape;
  Gradients gradients(model.layout());
  step_of(model, batch_, tape, gradients);
  const Profile& p = tape.profile;
  EXPECT_GT(p.attention, 0);
  EXPECT_GT(p.router, 0);
  EXPECT_GT(p.experts, 0);
  EXPECT_GT(p.head, 0);
  EXPECT_EQ(p.shared > 0, config().shared_ffn > 0 || config().dense_layers > 0);
  EXPECT_GE(p.other(), 0);
}

TEST_P(EveryModel, NamesWhatDiverged) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  Model model = random_model(config());
  Tape tape;
  Gradients gradients(model.layout());
  step_of(model, batch_, tape, gradients);
  EXPECT_FALSE(first_non_finite(model, tape, &gradients));

  const int down = model.layout().layers.back().expert_down;
  const std::string name = model.layout().table[down].name;
  gradients[down](3, 1) = nan;
  gradients[model.layout().embedding](0, 0) = nan;
  EXPECT_EQ(first_non_finite(model, tape, &gradients)->text(), "gradient of " + name);

  tape.layers[1].middle(4, 2) = infinity;
  tape.hidden(4, 2) = nan;
  EXPECT_EQ(first_non_finite(model, tape, &gradients)->text(),
            "activation after layers.1.attention");
  tape.layers[1].input(4, 2) = infinity;
  EXPECT_EQ(first_non_finite(model, tape, &gradients)->text(),
            config().dense_layers > 0 ? "activation after layers.0.dense"
                                      : "activation after layers.0.experts");

  model.parameters()[down](0, 5) = -infinity;
  EXPECT_EQ(first_non_finite(model, tape, nullptr)->text(), "parameter " + name);
}

TEST_P(EveryModel, NamesNothingThatIsNotKept) {
  Model model = random_model(config());
  model.options().recompute = true;
  Tape tape;
  Gradients gradients(model.layout());
  step_of(model, batch_, tape, gradients);
  tape.layers[1].middle.data[0] = std::numeric_limits<float>::quiet_NaN();  // free memory
  EXPECT_FALSE(first_non_finite(model, tape, &gradients));
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryModel, testing::ValuesIn(model_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Head, LossInPiecesIsTheWholeLoss) {
  const int64_t vocab = 19, hidden = 6, rows = head_piece_rows(vocab) + 77;
  const TestMatrix x = random_matrix(rows, hidden, 1), head = random_matrix(vocab, hidden, 2);
  std::vector<int32_t> index(rows), targets = random_ids(rows, vocab, 3);
  for (int64_t i = 0; i < rows; ++i) index[i] = static_cast<int32_t>(rows - 1 - i);
  std::vector<float> weight(rows), loss(rows);
  for (int64_t i = 0; i < rows; ++i) weight[i] = random_uniform({4, Purpose::synthetic}, i);
  Arena scratch;
  TestMatrix d_x(rows, hidden), d_head(vocab, hidden), logits(rows, vocab);
  const double sum =
      head_loss(x, index, targets, weight, head, loss, d_x, d_head, scratch, Precision::f32);
  head_forward(x, index, head, logits, scratch, Precision::f32);

  TestMatrix expected_d_x(rows, hidden), expected_d_head(vocab, hidden);
  double expected = 0;
  for (int64_t i = 0; i < rows; ++i) {
    double denominator = 0;
    for (int64_t v = 0; v < vocab; ++v) denominator += std::exp(double{logits(i, v)});
    const double ce = std::log(denominator) - double{logits(i, targets[i])};
    EXPECT_NEAR(loss[i], ce, 1e-5);
    expected += double{weight[i]} * ce;
    for (int64_t v = 0; v < vocab; ++v) {
      const double d = double{weight[i]} *
                       (std::exp(double{logits(i, v)}) / denominator - (v == targets[i] ? 1 : 0));
      for (int64_t j = 0; j < hidden; ++j) {
        expected_d_x(index[i], j) += static_cast<float>(d * double{head(v, j)});
        expected_d_head(v, j) += static_cast<float>(d * double{x(index[i], j)});
      }
    }
  }
  EXPECT_NEAR(sum, expected, 1e-6 * expected);
  EXPECT_TRUE(near(d_x, expected_d_x, f32_tolerance(vocab)));
  EXPECT_TRUE(near(d_head, expected_d_head, f32_tolerance(rows)));
}

TEST(Model, RefusesImpossibleConfigurations) {
  ModelConfig config = model_cases().front().config;
  config.kv_heads = 2;
  const auto heads = Model::create(config);
  ASSERT_FALSE(heads);
  EXPECT_EQ(heads.error().kind, Error::Kind::usage);
  EXPECT_NE(heads.error().message.find("kv_heads"), std::string::npos);

  config = model_cases().front().config;
  config.routing.experts_per_token = config.experts + 1;
  EXPECT_FALSE(Model::create(config));
}

}  // namespace
}  // namespace unmask
