#include "tests/model/model_cases.h"

#include <algorithm>

namespace unmask {

TestBatch::TestBatch(const ModelConfig& config, std::vector<int32_t> lengths, uint64_t seed)
    : attended_(lengths), block_(config.attention_block) {
  sequence_begin = {0};
  for (const int32_t length : lengths) {
    for (int32_t i = 0; i < length; ++i) positions.push_back(i);
    sequence_begin.push_back(sequence_begin.back() + length);
  }
  const int32_t n = sequence_begin.back();
  tokens = random_ids(n, config.vocab_size, seed);
  masked.assign(static_cast<size_t>(n), 0);
  for (int32_t i = 0; i < n; i += 3) {
    masked[i] = 1;
    loss_rows.push_back(i);
    targets.push_back(tokens[i]);
    weight.push_back(0.5f + static_cast<float>(i % 5) / static_cast<float>(n));
    tokens[i] = config.mask_token;
  }
  for (size_t b = 0; b < lengths.size(); ++b) {
    const auto begin = masked.begin() + sequence_begin[b];
    const auto count = std::count(begin, begin + lengths[b], uint8_t{1});
    mask_ratio.push_back(static_cast<float>(count) / static_cast<float>(lengths[b]));
  }
  build_pattern(block_);
  batch_.tokens = tokens;
  batch_.positions = positions;
  batch_.attention = &pattern;
  batch_.route.sequence_begin = sequence_begin;
  batch_.route.mask_ratio = mask_ratio;
  batch_.route.masked = masked;
}

void TestBatch::build_pattern(int32_t block) {
  pattern.clear();
  for (size_t b = 0; b < attended_.size(); ++b) {
    const int32_t begin = sequence_begin[b], end = begin + attended_[b];
    const int32_t step = block == 0 ? std::max(attended_[b], 1) : block;
    AttentionPattern::Group group{static_cast<int32_t>(pattern.spans.size()), 0, begin, end};
    for (int32_t q = begin; q < end; q += step) {
      const int32_t q_end = std::min(q + step, end);
      const auto range = static_cast<int32_t>(pattern.ranges.size());
      pattern.ranges.push_back({begin, q_end});
      pattern.spans.push_back({q, q_end, range, range + 1});
    }
    group.last_span = static_cast<int32_t>(pattern.spans.size());
    pattern.groups.push_back(group);
  }
}

void TestBatch::pad(int32_t b, int32_t count) {
  padding.resize(tokens.size(), 0);
  attended_[b] -= count;
  std::fill_n(padding.begin() + sequence_begin[b] + attended_[b], count, uint8_t{1});
  build_pattern(block_);
  batch_.route.padding = padding;
}

std::vector<ModelCase> model_cases() {
  ModelConfig base;
  base.vocab_size = 37;
  base.layers = 2;
  base.hidden = 24;
  base.heads = 3;
  base.kv_heads = 3;
  base.head_dim = 8;
  base.max_positions = 64;
  base.experts = 8;
  base.expert_ffn = 12;
  base.shared_ffn = 20;
  base.init_std = 0.25f;
  base.mask_token = 36;
  base.routing.experts_per_token = 3;
  base.routing.balance = {.switch_loss = 0.3f, .z_loss = 0.05f};

  ModelConfig token_choice = base;

  ModelConfig grouped = base;  // LLaDA2
  grouped.layers = 3;
  grouped.dense_layers = 1;
  grouped.dense_ffn = 28;
  grouped.heads = 4;
  grouped.kv_heads = 2;
  grouped.rope_fraction = 0.5f;
  grouped.expert_bias = true;
  grouped.attention_block = 5;
  grouped.routing.weights = RoutingPolicy::Weights::sigmoid;
  grouped.routing.scale = 2.5f;
  grouped.routing.groups = RoutingPolicy::Groups{.count = 4, .keep = 2};

  ModelConfig expert_choice = base;  // arXiv 2604.01622
  expert_choice.tied_head = true;
  expert_choice.routing.monte_carlo = true;
  expert_choice.routing.policy = RoutingPolicy::Selection::expert_choice;
  expert_choice.routing.capacity = RoutingPolicy::Capacity{
      .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 1, .max = 5};
  expert_choice.routing.balance = {.switch_loss = 0, .z_loss = 0.05f};

  ModelConfig biases = base;  // LLaDA-MoE's gate, and what LLaDA2 makes optional
  biases.qk_norm = false;
  biases.qkv_bias = true;
  biases.linear_bias = true;
  biases.tied_head = true;
  biases.shared_ffn = 0;
  biases.shared_experts = 0;
  biases.routing.weights = RoutingPolicy::Weights::softmax_before;
  biases.routing.renormalize = false;

  return {{"token_choice", token_choice},
          {"sigmoid_grouped", grouped},
          {"expert_choice", expert_choice},
          {"biases", biases}};
}

Model random_model(const ModelConfig& config, uint64_t seed, ModelOptions options) {
  auto created = Model::create(config, options);
  if (!created) throw std::runtime_error(created.error().message);
  Model model = std::move(created).value();
  initialize(model.parameters(), seed);
  const auto& table = model.layout().table;
  for (size_t index = 0; index < table.size(); ++index) {
    if (table[index].init_std != 0) continue;
    const Matrix values = model.parameters()[static_cast<int>(index)];
    for (int64_t j = 0; j < values.cols; ++j) {
      values(0, j) = table[index].init_value + 0.2f * random_normal({seed, Purpose::synthetic}, j,
                                                                    static_cast<uint32_t>(index));
    }
  }
  return model;
}

namespace {

double balance_of(const Tape& tape) {
  double sum = 0;
  for (const Tape::Layer& layer : tape.layers) sum += double{layer.routing.balance.total()};
  return sum;
}

StepResult judge(Model& model, const TestBatch& batch, Tape& tape, Matrix d_hidden,
                 Parameters* gradients) {
  StepResult result;
  result.row_loss.resize(batch.loss_rows.size());
  if (batch.confidence > 0) {
    result.row_entropy.resize(batch.loss_rows.size());
    const ConfidentLoss loss = model.confident_head_loss(
        tape, batch.loss_rows, batch.targets, batch.confidence, batch.weight, result.row_loss,
        result.row_entropy, d_hidden, gradients);
    result.loss = loss.cross_entropy + loss.confidence;
  } else {
    result.loss = model.head_loss(tape, batch.loss_rows, batch.targets, batch.weight,
                                  result.row_loss, d_hidden, gradients);
  }
  result.loss += double{kBalanceScale} * balance_of(tape);
  return result;
}

}  // namespace

StepResult loss_of(Model& model, const TestBatch& batch, Tape& tape) {
  model.forward(batch.get(), tape);
  return judge(model, batch, tape, {}, nullptr);
}

StepResult step_of(Model& model, const TestBatch& batch, Tape& tape, Gradients& gradients) {
  const Matrix hidden = model.forward(batch.get(), tape);
  const Matrix d_hidden = tape.arena.matrix(hidden.rows, hidden.cols);
  std::fill_n(d_hidden.data, d_hidden.size(), 0.0f);
  const StepResult result = judge(model, batch, tape, d_hidden, &gradients);
  model.backward(batch.get(), tape, d_hidden, kBalanceScale, gradients);
  return result;
}

}  // namespace unmask
