// The gradient of the whole model against finite differences, parameter by parameter.

#include "tests/model/model_cases.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace unmask {
namespace {

using Selection = std::vector<std::vector<int32_t>>;

// Everything that is chosen rather than computed: experts of tokens, and which predictions count as
// right.
Selection selection_of(const Tape& tape, const StepResult& result) {
  Selection selection(1);
  for (const float entropy : result.row_entropy) selection[0].push_back(entropy > 0);
  for (const Tape::Layer& layer : tape.layers) {
    selection.push_back(layer.routing.assignment.expert_begin);
    selection.push_back(layer.routing.assignment.token);
  }
  return selection;
}

double norm(std::span<const double> v) {
  return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
}

// Every kind of model; and one with the confidence term.
std::vector<ModelCase> cases() {
  std::vector<ModelCase> cases = model_cases();
  cases.push_back({"confident", cases[0].config, 2.0f});
  return cases;
}

class WholeModelGradient : public testing::TestWithParam<ModelCase> {
 protected:
  WholeModelGradient() : model_(random_model(GetParam().config)), gradients_(model_.layout()) {
    choose_firm_batch();
    const StepResult result = step_of(model_, *batch_, tape_, gradients_);
    selection_ = selection_of(tape_, result);
  }

  // The batch, of 32, whose choice of experts bears the largest changes of the parameters, so that
  // steps of a useful size are possible without a flip.
  void choose_firm_batch() {
    for (float share = 0x1p-4f; !batch_; share /= 2) {
      for (uint64_t seed = 1; seed <= 32 && !batch_; ++seed) {
        batch_.emplace(GetParam().config, std::vector<int32_t>{13, 8}, seed);
        if (GetParam().confidence > 0) expect_right_predictions();
        if (!selects_firmly(share)) batch_.reset();
      }
    }
  }

  // With the confidence term: every other prediction is right.
  void expect_right_predictions() {
    batch_->confidence = GetParam().confidence;
    model_.forward(batch_->get(), tape_);
    TestMatrix logits(std::ssize(batch_->loss_rows), GetParam().config.vocab_size);
    model_.head_forward(tape_, batch_->loss_rows, logits);
    for (int64_t i = 0; i < logits.rows(); i += 2) {
      const float* row = logits.view().row(i);
      batch_->targets[i] = static_cast<int32_t>(std::max_element(row, row + logits.cols()) - row);
    }
  }

  // Whether the selection stays as it is when every parameter changes by up to `share` of itself.
  bool selects_firmly(float share) {
    const Selection base = select();
    for (uint64_t trial = 0; trial < 4; ++trial) {
      const std::vector<float> saved = perturb(share, trial);
      const Selection perturbed = select();
      restore(saved);
      if (perturbed != base) return false;
    }
    return true;
  }

  // Changes every parameter by up to `share` of itself; returns what they were.
  std::vector<float> perturb(float share, uint64_t trial) {
    const std::span<float> flat = model_.parameters().flat();
    const std::vector<float> saved(flat.begin(), flat.end());
    for (size_t i = 0; i < flat.size(); ++i) {
      const float u = random_uniform({trial, Purpose::synthetic}, i);
      flat[i] = saved[i] * (1 + share * (2 * u - 1));
    }
    return saved;
  }
  void restore(const std::vector<float>& saved) {
    std::copy(saved.begin(), saved.end(), model_.parameters().flat().begin());
  }

  double loss() { return loss_of(model_, *batch_, tape_).loss; }
  Selection select() {
    const StepResult result = loss_of(model_, *batch_, tape_);
    return selection_of(tape_, result);
  }

  // How far rounding moves the loss: the most that changing every parameter by up to two units in
  // the last place does.
  double rounding() {
    const double base = loss();
    double worst = 0;
    for (uint64_t trial = 0; trial < 8; ++trial) {
      const std::vector<float> saved = perturb(4 * static_cast<float>(kEpsilonF32), trial);
      worst = std::max(worst, std::abs(loss() - base));
      restore(saved);
    }
    return worst;
  }

  // Loss at parameter + distance * direction, minus that on the other side; false when a selection
  // flips.
  bool difference(std::span<float> parameter, std::span<const double> direction, double distance,
                  double& result) {
    const std::vector<float> saved(parameter.begin(), parameter.end());
    const auto at = [&](double t, double& value) {
      for (size_t i = 0; i < saved.size(); ++i) {
        parameter[i] = static_cast<float>(saved[i] + t * direction[i]);
      }
      const StepResult result = loss_of(model_, *batch_, tape_);
      value = result.loss;
      return selection_of(tape_, result) == selection_;
    };
    double above = 0, below = 0;
    const bool same = at(distance, above) && at(-distance, below);
    std::copy(saved.begin(), saved.end(), parameter.begin());
    result = above - below;
    return same;
  }

  // Fourth-order differences along the direction (of length one), against gradient · direction.
  // The step is halved until no selection flips.
  void expect_slope(int index, std::span<const double> direction, double rounding,
                    const std::string& what) {
    const ParameterInfo& info = model_.layout().table[index];
    const Matrix parameter = model_.parameters()[index];
    const std::span<float> values(parameter.data, static_cast<size_t>(parameter.size()));
    const float* gradient = gradients_[index].data;
    double claimed = 0, squares = 0, parameter_squares = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      claimed += direction[i] * double{gradient[i]};
      squares += double{gradient[i]} * double{gradient[i]};
      parameter_squares += double{values[i]} * double{values[i]};
    }
    const double rms = std::sqrt(parameter_squares / static_cast<double>(values.size()));
    // A few per cent of the parameter's operator norm, so that the loss is smooth over it.
    double h = 0.02 * rms * std::sqrt(static_cast<double>(std::max(info.rows, info.cols)));
    for (int attempt = 0; attempt < 6; ++attempt, h /= 2) {
      double slope[3];  // over h, 2 h and 4 h
      bool same = true;
      for (int i = 0; i < 3 && same; ++i) {
        const double distance = h * (1 << i);
        same = difference(values, direction, distance, slope[i]);
        slope[i] /= 2 * distance;
      }
      if (!same) continue;
      const double fine = (4 * slope[0] - slope[1]) / 3, coarse = (4 * slope[1] - slope[2]) / 3;
      // The error of `coarse` is 16 times that of `fine`, as long as the next order is small.
      const double tolerance = std::abs(fine - coarse) / 4 + 2 * rounding / h;
      if (tolerance > 0.05 * std::sqrt(squares)) continue;
      EXPECT_LE(std::abs(claimed - fine), tolerance)
          << info.name << " " << what << ": gradient " << claimed << ", differences " << fine;
      worst_ = std::max(worst_, std::abs(claimed - fine) / std::sqrt(squares));
      worst_share_ = std::max(worst_share_, std::abs(claimed - fine) / tolerance);
      ++checked_;
      return;
    }
    ++untold_;
  }

  const ThreadCount one_thread_{1};  // the work is too small to share
  Model model_;
  std::optional<TestBatch> batch_;
  Tape tape_;
  Gradients gradients_;
  Selection selection_;
  int checked_ = 0, untold_ = 0;
  double worst_ = 0, worst_share_ = 0;
};

TEST_P(WholeModelGradient, AgreesWithFiniteDifferences) {
  const double noise = rounding();
  const auto& table = model_.layout().table;
  for (int index = 0; index < static_cast<int>(table.size()); ++index) {
    const auto size = static_cast<size_t>(table[index].size());
    const float* gradient = gradients_[index].data;
    if (!table[index].trained) {
      EXPECT_TRUE(std::all_of(gradient, gradient + size, [](float g) { return g == 0; }));
      continue;
    }
    // Half the gradient's own direction, which has the clearest slope, half a random one, which
    // no error can be orthogonal to.
    std::vector<double> along(gradient, gradient + size), random(size), both(size);
    for (size_t i = 0; i < size; ++i) {
      random[i] = double{random_normal({5, Purpose::synthetic}, i, static_cast<uint32_t>(index))};
    }
    const double along_norm = norm(along), random_norm = norm(random);
    ASSERT_GT(along_norm, 0) << table[index].name;
    for (size_t i = 0; i < size; ++i) both[i] = along[i] / along_norm + random[i] / random_norm;
    const double both_norm = norm(both);
    for (double& b : both) b /= both_norm;
    expect_slope(index, both, noise, "direction");

    const size_t largest =
        std::max_element(gradient, gradient + size,
                         [](float a, float b) { return std::abs(a) < std::abs(b); }) -
        gradient;
    for (const size_t i : {largest, size / 3, size - 1}) {
      std::vector<double> unit(size, 0.0);
      unit[i] = 1;
      expect_slope(index, unit, noise, "element " + std::to_string(i));
    }
  }
  RecordProperty("worst", std::to_string(worst_));
  std::printf(
      "%s: %d slopes, %d untold, worst error %.2g of the gradient's norm, %.2f of the "
      "tolerance; rounding of the loss %.2g\n",
      GetParam().name.c_str(), checked_, untold_, worst_, worst_share_, noise);
  EXPECT_LE(untold_, checked_ / 20) << "selections flip too easily for this test to tell anything";
}

INSTANTIATE_TEST_SUITE_P(Kinds, WholeModelGradient, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace unmask
