#include "unmask/train/learner.h"

#include "tests/support/allocations.h"
#include "tests/support/every_thread.h"
#include "tests/support/numeric.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "unmask/train/flops.h"
#include "unmask/train/plan.h"
#include "unmask/train/run_events.h"

namespace unmask {
namespace {

TrainConfig learner_config(bool expert_choice, Precision precision = Precision::bf16) {
  TrainConfig config;
  ModelConfig& model = config.model;
  model.vocab_size = 40;
  model.mask_token = 39;
  model.end_token = model.pad_token = 38;
  model.layers = 2;
  model.hidden = 64;
  model.heads = model.kv_heads = 2;
  model.head_dim = 32;
  model.experts = 8;
  model.expert_ffn = 32;
  model.shared_ffn = 32;
  model.routing.experts_per_token = 2;
  if (expert_choice) {
    model.routing.policy = RoutingPolicy::Selection::expert_choice;
    model.routing.capacity = RoutingPolicy::Capacity{
        .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 1, .max = 3};
  } else {
    model.routing.balance = {.switch_loss = 0.01f, .z_loss = 0.001f};
  }
  config.options.precision = precision;
  config.data.sequence_length = 64;
  config.batch = 4;
  config.steps = 100;
  config.learning_rate = {.peak = 3e-3f, .floor = 3e-4f, .warmup = 5, .steps = 100};
  return config;
}

// Token choice with drops, loss-free; and block experts, with the confidence term.
TrainConfig dropping_config() {
  TrainConfig config = learner_config(false);
  config.model.expert_bias = true;
  config.model.routing.balance = {.bias_rate = 0.01f};
  config.model.routing.drop = {.capacity_factor = 1.0};
  return config;
}
TrainConfig block_config() {
  TrainConfig config = learner_config(false);
  config.objective.confidence = 2;
  config.model.routing.policy = RoutingPolicy::Selection::block_experts;
  config.model.routing.block = {.size = 16, .p = 0.5, .coreset_min = 3};
  return config;
}

// Text that can be learned: each sequence counts upwards from a random start.
SequenceBatch make_data(const TrainConfig& config, int64_t step) {
  SequenceBatch data;
  const int32_t length = data.length = config.data.sequence_length;
  for (int64_t b = 0; b < config.step_sequences(); ++b) {
    const auto start = static_cast<int32_t>(
        random_below({1, Purpose::synthetic}, 38, static_cast<uint64_t>(step * 1000 + b)));
    for (int32_t i = 0; i < length; ++i) data.tokens.push_back((start + i) % 38);
    data.prompt_length.push_back(0);
    data.real_length.push_back(length);
  }
  return data;
}

Learner make_learner(const TrainConfig& config) {
  auto learner = Learner::create(config);
  EXPECT_TRUE(learner.ok()) << learner.error().message;
  return std::move(learner).value();
}

std::vector<float> parameters_after(const TrainConfig& config, int64_t steps) {
  Learner learner = make_learner(config);
  for (int64_t step = 1; step <= steps; ++step) {
    EXPECT_TRUE(learner.step(step, make_data(config, step)).ok());
  }
  const auto flat = learner.model().parameters().flat();
  return {flat.begin(), flat.end()};
}

TEST(Learner, LearnsToCount) {
  for (const bool expert_choice : {false, true}) {
    const TrainConfig config = learner_config(expert_choice);
    Learner learner = make_learner(config);
    double first = 0, last = 0;
    for (int64_t step = 1; step <= config.steps; ++step) {
      const auto report = learner.step(step, make_data(config, step));
      ASSERT_TRUE(report.ok());
      if (step == 1) first = report.value().loss.cross_entropy;
      last = report.value().loss.cross_entropy;
    }
    EXPECT_NEAR(first, std::log(40.0), 0.3);
    EXPECT_LT(last, 0.6 * first);
  }
}

TEST(Learner, GivesTheSameBitsWithOneAndTwoThreads) {
  for (const bool expert_choice : {false, true}) {
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      const auto run = [&](int threads) {
        const ThreadCount scope(threads);
        return parameters_after(learner_config(expert_choice, precision), 4);
      };
      EXPECT_EQ(run(1), run(2));
    }
  }
}

TEST(Learner, AccumulationEqualsOneBigBatch) {
  TrainConfig whole = learner_config(true, Precision::f32);
  whole.objective.mask_ratio.stratified = true;
  TrainConfig parts = whole;
  parts.batch = 1;
  parts.accumulation = 4;
  const std::vector<float> a = parameters_after(whole, 1), b = parameters_after(parts, 1);
  // The first step of AdamW moves every parameter by the learning rate times g / |g|: only where
  // the gradient is as small as its rounding may the two differ, and then by two steps at most.
  const double step = whole.learning_rate.at(1) * (1 + 1e-3);
  size_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_LE(std::abs(a[i] - b[i]), 2 * step);
    different += std::abs(a[i] - b[i]) > 1e-2 * step;
  }
  EXPECT_LT(different, a.size() / 100);
}

TEST(Learner, AccumulationReportsTheBalanceOfOneBigBatch) {
  const auto z_loss = [](int32_t batch, int32_t accumulation) {
    TrainConfig config = learner_config(false, Precision::f32);
    config.batch = batch;
    config.accumulation = accumulation;
    Learner learner = make_learner(config);
    return learner.step(1, make_data(config, 1))->balance.z_loss;
  };
  EXPECT_GT(z_loss(4, 1), 0);
  EXPECT_NEAR(z_loss(1, 4), z_loss(4, 1), 1e-4 * z_loss(4, 1));
}

TEST(Learner, WithoutClippingTheGradientIsWhole) {
  TrainConfig config = learner_config(false, Precision::f32);
  config.clip = 0;
  const std::vector<float> unclipped = parameters_after(config, 2);
  config.clip = 1e9f;
  EXPECT_EQ(unclipped, parameters_after(config, 2));
}

TEST(Learner, NormsDoNotDecay) {
  TrainConfig config = learner_config(false, Precision::f32);
  config.weight_decay = 0;
  const std::vector<float> free = parameters_after(config, 1);
  config.weight_decay = 10;
  const std::vector<float> decayed = parameters_after(config, 1);
  for (const ParameterInfo& info : ParameterLayout(config.model).table) {
    const auto first = free.begin() + info.offset;
    EXPECT_EQ(std::equal(first, first + info.size(), decayed.begin() + info.offset), !info.decays)
        << info.name;
  }
}

TEST(Learner, AllocatesNothingInTheSteadyState) {
  for (const TrainConfig& config :
       {learner_config(false), learner_config(true), dropping_config(), block_config()}) {
    Learner learner = make_learner(config);
    std::vector<SequenceBatch> data;
    for (int64_t step = 1; step <= 8; ++step) data.push_back(make_data(config, step));
    const auto first_steps = [&] {
      for (int64_t step = 1; step <= 4; ++step) {
        ASSERT_TRUE(learner.step(step, data[step - 1]).ok());
      }
    };
    test::on_every_thread(first_steps);
    const size_t reserved = learner.tape().arena.bytes_reserved();
    const auto before = test::heap_allocations();
    for (int64_t step = 5; step <= 8; ++step) ASSERT_TRUE(learner.step(step, data[step - 1]).ok());
    EXPECT_EQ(test::heap_allocations() - before, 0);
    EXPECT_EQ(learner.tape().arena.bytes_reserved(), reserved);
  }
}

// bias += rate * sign(mean load - load), loads before drops of all micro-batches.
TEST(Learner, SelectionBiasFollowsTheLoad) {
  TrainConfig config = dropping_config();
  config.options.precision = Precision::f32;
  Learner learner = make_learner(config);
  const auto bias_of = [](Learner& of, int layer) {
    const Matrix bias = of.model().parameters()[of.model().layout().layers[layer].expert_bias];
    return std::vector<float>(bias.data, bias.data + bias.cols);
  };
  for (int64_t step = 1; step <= 4; ++step) {
    const std::vector<std::vector<float>> before = {bias_of(learner, 0), bias_of(learner, 1)};
    ASSERT_TRUE(learner.step(step, make_data(config, step)).ok());
    for (int layer = 0; layer < config.model.layers; ++layer) {
      const Routing& routing = learner.tape().layers[layer].routing;
      EXPECT_FALSE(routing.decision.dropped_expert.empty());
      std::vector<int64_t> load(config.model.experts);
      for (int32_t e = 0; e < config.model.experts; ++e) load[e] = routing.assignment.load(e);
      for (const int32_t e : routing.decision.dropped_expert) ++load[e];
      const int64_t mean = int64_t{routing.assignment.tokens} * 2 / config.model.experts;
      const auto bias = bias_of(learner, layer);
      for (int32_t e = 0; e < config.model.experts; ++e) {
        const float change = load[e] < mean ? 0.01f : load[e] > mean ? -0.01f : 0.0f;
        EXPECT_EQ(bias[e], before[layer][e] + change);
      }
    }
  }
  Learner whole = make_learner(config);
  ASSERT_TRUE(whole.step(1, make_data(config, 1)).ok());

  // The same in micro-batches, in which single loads lie on other sides of their means.
  config.batch = 1;
  config.accumulation = 4;
  Learner parts = make_learner(config);
  ASSERT_TRUE(parts.step(1, make_data(config, 1)).ok());
  EXPECT_EQ(bias_of(parts, 0), bias_of(whole, 0));

  config.model.expert_bias = false;
  const auto refused = Learner::create(config);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("routing.balance.bias_rate"), std::string::npos);
}

TEST(Learner, LeavesWhatIsNotTrainedUntouchedBitForBit) {
  const auto is_router = [](const std::string& name) { return name.ends_with("router"); };
  const auto is_expert = [](const std::string& name) {
    return name.find(".experts.") != std::string::npos;
  };
  for (const Trainable trainable :
       {Trainable::router, Trainable::router_and_experts, Trainable::all}) {
    for (TrainConfig config : {learner_config(true), dropping_config()}) {
      config.trainable = trainable;
      Learner learner = make_learner(config);
      const auto flat = learner.model().parameters().flat();
      const std::vector<float> before(flat.begin(), flat.end());
      for (int64_t step = 1; step <= 3; ++step) {
        ASSERT_TRUE(learner.step(step, make_data(config, step)).ok());
      }
      for (const ParameterInfo& info : learner.model().layout().table) {
        const auto first = static_cast<size_t>(info.offset),
                   size = static_cast<size_t>(info.size());
        const bool moved =
            !std::equal(flat.begin() + first, flat.begin() + first + size, before.begin() + first);
        const auto is_zero = [](float x) { return x == 0; };
        const bool has_moments =
            !std::ranges::all_of(learner.first_moment().flat().subspan(first, size), is_zero) ||
            !std::ranges::all_of(learner.second_moment().flat().subspan(first, size), is_zero);
        const bool expected = trainable == Trainable::all || is_router(info.name) ||
                              (trainable == Trainable::router_and_experts && is_expert(info.name));
        if (info.trained) {
          EXPECT_EQ(moved, expected) << info.name;
          EXPECT_EQ(has_moments, expected) << info.name;
        } else {
          EXPECT_TRUE(moved) << "the selection bias follows the load: " << info.name;
          EXPECT_FALSE(has_moments) << info.name;
        }
      }
    }
  }
}

// What clipping sees is the gradient of what is trained.
TEST(Learner, MeasuresTheGradientOfWhatIsTrained) {
  const auto norm = [](Trainable trainable) {
    TrainConfig config = learner_config(true, Precision::f32);
    config.trainable = trainable;
    Learner learner = make_learner(config);
    return learner.step(1, make_data(config, 1))->gradient_norm;
  };
  const double router = norm(Trainable::router), experts = norm(Trainable::router_and_experts);
  EXPECT_GT(router, 0);
  EXPECT_LT(router, experts);
  EXPECT_LT(experts, norm(Trainable::all));
}

TEST(Learner, HoldsAsMuchMemoryAsPlanned) {
  for (const bool recompute : {false, true}) {
    TrainConfig config = learner_config(true);
    config.options.recompute = recompute;
    config.batch = 256;
    Learner learner = make_learner(config);
    ASSERT_TRUE(learner.step(1, make_data(config, 1)).ok());
    const auto plan = plan_memory(config);
    ASSERT_TRUE(plan.ok());
    int64_t weights = std::ssize(learner.model().parameters().flat()) * int64_t{sizeof(float)};
    if (config.options.precision == Precision::bf16) {
      weights += rounded_experts_bytes(learner.model().layout());
    }
    EXPECT_EQ(plan.value().weights, weights);
    const auto reserved = static_cast<double>(learner.tape().arena.bytes_reserved());
    EXPECT_NEAR(reserved, static_cast<double>(plan.value().tape), 0.1 * reserved);
  }
}

TEST(Learner, SaysWhereItDivergedAndAppliesNothing) {
  const TrainConfig config = learner_config(false);
  Learner learner = make_learner(config);
  ASSERT_TRUE(learner.step(1, make_data(config, 1)).ok());
  const int down = learner.model().layout().layers[1].expert_down;
  learner.model().parameters()[down](3, 5) = std::numeric_limits<float>::infinity();
  learner.model().round_experts();
  const auto flat = learner.model().parameters().flat();
  const std::vector<float> before(flat.begin(), flat.end());
  const auto report = learner.step(2, make_data(config, 2));
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("step 2"), std::string::npos);
  EXPECT_NE(report.error().message.find("layers.1.experts.down"), std::string::npos)
      << report.error().message;
  EXPECT_NE(report.error().message.find("learning_rate"), std::string::npos);
  EXPECT_TRUE(std::equal(flat.begin(), flat.end(), before.begin()));
}

// One dimension of the last hidden state counts nothing, but what it would count is beyond f32.
TEST(Learner, AGradientThatIsNotFiniteIsNotApplied) {
  const TrainConfig config = learner_config(false, Precision::f32);
  Learner learner = make_learner(config);
  Parameters& parameters = learner.model().parameters();
  const ParameterLayout& layout = learner.model().layout();
  const Matrix embedding = parameters[layout.embedding], head = parameters[layout.head];
  parameters[layout.final_norm](0, 0) = 0;
  for (int32_t token = 0; token < config.model.vocab_size; ++token) {
    const bool likely = token >= config.model.end_token;
    embedding(token, 0) = embedding(token, 1) = 100;
    head(token, 0) = likely ? 3e38f : -3e38f;
    head(token, 1) = likely ? 1.0f : 0.0f;
  }
  const auto flat = parameters.flat();
  const std::vector<float> before(flat.begin(), flat.end());
  const auto report = learner.step(1, make_data(config, 1));
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("the gradient"), std::string::npos)
      << report.error().message;
  EXPECT_TRUE(std::equal(flat.begin(), flat.end(), before.begin()));
}

TEST(RunEvents, SayWhatAStepDid) {
  const TrainConfig config = dropping_config();
  Learner learner = make_learner(config);
  const StepReport report = *learner.step(1, make_data(config, 1));
  const TrainEvent train = train_event({}, report, config, 10);
  EXPECT_DOUBLE_EQ(train.model_flops_per_second, 10 * flops_per_token(config.model, 64));
  const RoutingEvent routing = routing_event({}, learner);
  ASSERT_EQ(routing.layers.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const Routing& layer = learner.tape().layers[i].routing;
    const auto dropped = static_cast<double>(layer.decision.dropped_expert.size());
    EXPECT_DOUBLE_EQ(routing.layers[i].dropped_share, dropped / (2 * layer.assignment.tokens));
  }
}

TEST(RunEvents, EveryLevelHasItsLoss) {
  Evaluation evaluation;
  evaluation.levels.emplace();
  evaluation.levels->levels = {0.25f, 0.75f};
  evaluation.levels->level_loss = {{.sum = 2, .count = 2}, {.sum = 6, .count = 2}};
  const ValidationEvent event = validation_event({}, evaluation);
  EXPECT_EQ(event.level_mask_ratio, (std::vector<double>{0.25, 0.75}));
  EXPECT_EQ(event.level_loss, (std::vector<double>{1, 3}));
}

}  // namespace
}  // namespace unmask
