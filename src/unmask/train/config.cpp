#include "unmask/train/config.h"

#include "unmask/base/document.h"
#include "unmask/routing/policy_json.h"

namespace unmask {
namespace {

void read_data(Fields& fields, TrainConfig::Data& data) {
  fields.require("paths", data.paths);
  fields.read("tokenizer", data.tokenizer);
  fields.read("mask_token", data.special.mask);
  fields.read("end_token", data.special.end);
  fields.read_between("sequence_length", data.sequence_length, 2);
  fields.read_between("validation_fraction", data.validation_fraction, 0.0, 0.5);
}

void read_model(Fields& fields, ModelConfig& model) {
  fields.read("layers", model.layers);
  fields.read("hidden", model.hidden);
  fields.read("heads", model.heads);
  model.kv_heads = model.heads;
  fields.read("kv_heads", model.kv_heads);
  // Heads that do not divide hidden are refused below, unless head_dim says what is meant.
  if (!fields.read("head_dim", model.head_dim)) {
    if (model.heads <= 0 || model.hidden % model.heads != 0) {
      fields.refuse("heads", fmt::format("a divisor of hidden ({}), or head_dim", model.hidden));
    } else {
      model.head_dim = model.hidden / model.heads;
    }
  }
  fields.read("max_positions", model.max_positions);
  fields.read("dense_layers", model.dense_layers);
  fields.read("dense_ffn", model.dense_ffn);
  fields.read("experts", model.experts);
  fields.read("expert_ffn", model.expert_ffn);
  fields.read("shared_ffn", model.shared_ffn);
  fields.read("shared_experts", model.shared_experts);
  fields.read("expert_bias", model.expert_bias);
  fields.read("norm_epsilon", model.norm_epsilon);
  fields.read("rope_theta", model.rope_theta);
  fields.read("rope_fraction", model.rope_fraction);
  fields.read("qk_norm", model.qk_norm);
  fields.read("qkv_bias", model.qkv_bias);
  fields.read("linear_bias", model.linear_bias);
  fields.read("tied_head", model.tied_head);
  fields.read("init_std", model.init_std);
}

void read_objective(Fields& fields, ObjectiveOptions& objective) {
  using Kind = ObjectiveOptions::Kind;
  fields.read_enum(
      "kind", objective.kind,
      {{"elbo", Kind::elbo}, {"plain", Kind::plain}, {"sft", Kind::sft}, {"block", Kind::block}});
  if (objective.kind == Kind::block) objective.mask_ratio = {0.3f, 0.8f};  // dMoE
  fields.read_between("mask_ratio_min", objective.mask_ratio.low, 0.0f, 1.0f);
  fields.read_between("mask_ratio_max", objective.mask_ratio.high, 0.0f, 1.0f);
  fields.read("stratified", objective.mask_ratio.stratified);
  fields.read_between("block_size", objective.block_size, 1);
  fields.read("document_mask", objective.document_mask);
}

void read_training(Fields& fields, TrainConfig& config) {
  fields.read_between("steps", config.steps, 1);
  fields.read_between("batch", config.batch, 1);
  fields.read_between("accumulation", config.accumulation, 1);
  fields.read_enum("precision", config.options.precision,
                   {{"f32", Precision::f32}, {"bf16", Precision::bf16}});
  fields.read("recompute", config.options.recompute);
  fields.read("seed", config.seed);
  fields.read_between("log_every", config.log_every, 1);
}

void read_optimizer(Fields& fields, TrainConfig& config) {
  using Shape = LearningRate::Shape;
  LearningRate& rate = config.learning_rate;
  fields.read_between("learning_rate", rate.peak, 0.0f);
  rate.floor = rate.peak / 10;
  fields.read_between("learning_rate_min", rate.floor, 0.0f, rate.peak);
  fields.read_enum("schedule", rate.shape,
                   {{"constant", Shape::constant}, {"cosine", Shape::cosine}, {"wsd", Shape::wsd}});
  fields.read_between("warmup", rate.warmup, 0);
  fields.read_between("decay", rate.decay, 0.0, 1.0);
  fields.read_between("beta1", config.beta1, 0.0f, 0.9999999f);
  fields.read_between("beta2", config.beta2, 0.0f, 0.9999999f);
  fields.read_between("epsilon", config.epsilon, 0.0f);
  fields.read_between("weight_decay", config.weight_decay, 0.0f);
  fields.read_between("clip", config.clip, 0.0f);
}

void read_evaluation(Fields& fields, TrainConfig::Evaluation& evaluation) {
  fields.read_between("every", evaluation.every, 0);
  fields.read_between("sequences", evaluation.sequences, 1);
  fields.read_between("draws", evaluation.draws, 1);
  fields.read_between("sample_every", evaluation.sample_every, 0);
  fields.read_between("sample_length", evaluation.sample_length, 1);
}

}  // namespace

Result<TrainConfig> train_config_from_json(const nlohmann::json& document,
                                           const std::string& file) {
  TrainConfig config;
  Fields fields(document, "", file);
  fields.read("name", config.name);
  fields.table("data", [&](Fields& f) { read_data(f, config.data); });
  if (!fields.has("data"))
    fields.fail(usage_error("{}: expected a table 'data' with 'paths'", file));
  fields.table("model", [&](Fields& f) { read_model(f, config.model); });
  fields.table("objective", [&](Fields& f) { read_objective(f, config.objective); });
  fields.table("training", [&](Fields& f) { read_training(f, config); });
  fields.table("optimizer", [&](Fields& f) { read_optimizer(f, config); });
  fields.table("evaluation", [&](Fields& f) { read_evaluation(f, config.evaluation); });
  fields.table("checkpoint", [&](Fields& f) {
    f.read_between("every", config.checkpoint.every, 0);
    f.read_between("keep", config.checkpoint.keep, 1);
  });
  const nlohmann::json* const routing = fields.find("routing");
  UNMASK_TRY_STATUS(fields.finish());
  if (routing != nullptr) {
    UNMASK_TRY(config.model.routing, policy_from_json(*routing, "routing", file));
  }

  config.learning_rate.steps = config.steps;
  const int32_t rows = config.data.sequence_length;
  if (config.model.max_positions < rows) config.model.max_positions = rows;
  if (config.objective.kind == ObjectiveOptions::Kind::block) {
    config.model.attention_block = config.objective.block_size;
  }
  return config;
}

Status adopt_tokenizer(const Tokenizer& tokenizer, TrainConfig& config) {
  if (!tokenizer.mask_token() || !tokenizer.end_token()) {
    return usage_error(
        "{}: the tokenizer has no {} token; name one with data.{}_token (it is added when the "
        "vocabulary lacks it)",
        config.data.tokenizer, tokenizer.mask_token() ? "end" : "mask",
        tokenizer.mask_token() ? "end" : "mask");
  }
  config.model.vocab_size = tokenizer.vocab_size();
  config.model.mask_token = *tokenizer.mask_token();
  config.model.end_token = *tokenizer.end_token();
  config.model.pad_token = *tokenizer.end_token();
  return validate(config.model);
}

}  // namespace unmask
