#include "unmask/train/config.h"

#include <cmath>

#include "unmask/base/document.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_file.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/routing/policy_json.h"

namespace unmask {
namespace {

void read_data(Fields& fields, TrainConfig::Data& data) {
  fields.require("paths", data.paths);
  fields.read("tokenizer", data.tokenizer);
  fields.read("mask_token", data.special.mask);
  fields.read("end_token", data.special.end);
  if (data.special.mask == "") fields.refuse("mask_token", "the name of a token");
  if (data.special.end == "") fields.refuse("end_token", "the name of a token");
  fields.read_between("sequence_length", data.sequence_length, 2);
  fields.read_between("validation_fraction", data.validation_fraction, 0.0, 0.5);
}

// visit(key, member) for every key of `model`.
template <class Model, class Visit>
void visit_model_keys(Model& model, Visit&& visit) {
  visit("layers", model.layers);
  visit("hidden", model.hidden);
  visit("heads", model.heads);
  visit("kv_heads", model.kv_heads);
  visit("head_dim", model.head_dim);
  visit("max_positions", model.max_positions);
  visit("dense_layers", model.dense_layers);
  visit("dense_ffn", model.dense_ffn);
  visit("experts", model.experts);
  visit("expert_ffn", model.expert_ffn);
  visit("shared_ffn", model.shared_ffn);
  visit("shared_experts", model.shared_experts);
  visit("expert_bias", model.expert_bias);
  visit("norm_epsilon", model.norm_epsilon);
  visit("rope_theta", model.rope_theta);
  visit("rope_fraction", model.rope_fraction);
  visit("qk_norm", model.qk_norm);
  visit("qkv_bias", model.qkv_bias);
  visit("linear_bias", model.linear_bias);
  visit("tied_head", model.tied_head);
  visit("init_std", model.init_std);
}

void read_new_model(Fields& fields, ModelConfig& model) {
  visit_model_keys(model, [&](const char* key, auto& member) { fields.read(key, member); });
  if (!fields.has("kv_heads")) model.kv_heads = model.heads;
  if (fields.has("head_dim")) return;
  // Heads that do not divide hidden are refused, unless head_dim says what is meant.
  if (model.heads <= 0 || model.hidden % model.heads != 0) {
    fields.refuse("heads", fmt::format("a divisor of hidden ({}), or head_dim", model.hidden));
  } else {
    model.head_dim = model.hidden / model.heads;
  }
}

// The checkpoint has said what the model is: keys that are there all the same must agree.
void check_known_model(Fields& fields, const ModelConfig& model, const std::string& from) {
  visit_model_keys(model, [&](const char* key, const auto& member) {
    auto found = member;
    if (!fields.read(key, found) || found == member) return;
    fields.refuse(key, fmt::format("{} as in the checkpoint that training.from names ({}), or "
                                   "nothing",
                                   member, from));
  });
}

void read_objective(Fields& fields, ObjectiveOptions& objective) {
  using Kind = ObjectiveOptions::Kind;
  fields.read_enum(
      "kind", objective.kind,
      {{"elbo", Kind::elbo}, {"plain", Kind::plain}, {"sft", Kind::sft}, {"block", Kind::block}});
  fields.read_between("confidence", objective.confidence, 0.0f);
  if (objective.kind == Kind::block) objective.mask_ratio = {0.3f, 0.8f};  // dMoE
  fields.read_between("mask_ratio_min", objective.mask_ratio.low, 0.0f, 1.0f);
  fields.read_between("mask_ratio_max", objective.mask_ratio.high, 0.0f, 1.0f);
  fields.read("stratified", objective.mask_ratio.stratified);
  fields.read_between("block_size", objective.block_size, 1);
  fields.read("document_mask", objective.document_mask);
}

void read_training(Fields& fields, TrainConfig& config) {
  fields.find("from");  // read before all else
  fields.read_between("steps", config.steps, 1);
  if (fields.read_between("epochs", config.epochs, 0.0, 1e6) && fields.has("steps")) {
    fields.refuse("epochs", "this or 'steps', not both");
  }
  fields.read_between("batch", config.batch, 1, 1 << 20);
  fields.read_between("accumulation", config.accumulation, 1, 1 << 20);
  fields.read_enum("precision", config.options.precision,
                   {{"f32", Precision::f32}, {"bf16", Precision::bf16}});
  fields.read("recompute", config.options.recompute);
  fields.read_enum("trainable", config.trainable,
                   {{"router", Trainable::router},
                    {"router+experts", Trainable::router_and_experts},
                    {"all", Trainable::all}});
  fields.read("seed", config.seed);
  fields.read_between("log_every", config.log_every, 1);
}

// The checkpoint that training.from names, in all that it says about a run.
Status start_from(const nlohmann::json& document, const std::string& file, TrainConfig& config) {
  const auto training = document.find("training");
  if (training == document.end() || !training->contains("from")) return {};
  std::string path;
  Fields fields(*training, "training", file);
  fields.read("from", path);
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  UNMASK_TRY(config.from, find_checkpoint(path));
  if (is_packed(config.from)) {
    return usage_error(
        "{}: 'training.from': {} is a packed model, which cannot be trained; name the checkpoint "
        "that it was made from",
        file, config.from);
  }
  UNMASK_TRY(config.model, load_model_config(config.from));
  config.data.tokenizer = config.from;
  return {};
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
  if (fields.read_between("warmup_share", config.warmup_share, 0.0, 1.0) && fields.has("warmup")) {
    fields.refuse("warmup_share", "this or 'warmup', not both");
  }
  fields.read_between("decay", rate.decay, 0.0, 1.0);
  fields.read_between("beta1", config.beta1, 0.0f, 0.9999999f);
  fields.read_between("beta2", config.beta2, 0.0f, 0.9999999f);
  fields.read_between("epsilon", config.epsilon, 1e-30f);
  fields.read_between("weight_decay", config.weight_decay, 0.0f);
  fields.read_between("clip", config.clip, 0.0f);
}

void read_evaluation(Fields& fields, TrainConfig::Evaluation& evaluation) {
  fields.read_between("every", evaluation.every, 0);
  fields.read_between("sequences", evaluation.sequences, 1);
  fields.read_between("draws", evaluation.draws, 1, 1 << 20);
  fields.read("levels", evaluation.levels);
  for (const float level : evaluation.levels) {
    if (!(level >= 0 && level <= 1)) fields.refuse("levels", "mask ratios from 0 to 1");
  }
  fields.read_between("sample_every", evaluation.sample_every, 0);
  fields.read_between("sample_length", evaluation.sample_length, 1);
}

// The model's embeddings are there already; there may be more of them than the tokenizer has ids.
Status check_tokenizer(const Tokenizer& tokenizer, const TrainConfig& config) {
  const ModelConfig& model = config.model;
  if (tokenizer.vocab_size() <= model.vocab_size && *tokenizer.mask_token() == model.mask_token &&
      *tokenizer.end_token() == model.end_token) {
    return {};
  }
  return usage_error(
      "{}: expected a tokenizer with mask token {}, end token {} and at most {} ids, as {} has it, "
      "found {}, {} and {}; leave data.tokenizer out, the checkpoint's is the default",
      config.data.tokenizer, model.mask_token, model.end_token, model.vocab_size, config.from,
      *tokenizer.mask_token(), *tokenizer.end_token(), tokenizer.vocab_size());
}

}  // namespace

Result<TrainConfig> train_config_from_json(const nlohmann::json& document,
                                           const std::string& file) {
  TrainConfig config;
  UNMASK_TRY_STATUS(start_from(document, file, config));
  const bool fresh = config.from.empty();
  Fields fields(document, "", file);
  fields.read("name", config.name);
  if (config.name.empty() || config.name == "." || config.name == ".." ||
      config.name.find('/') != std::string::npos) {
    fields.refuse("name", "the name of a directory within runs/");
  }
  fields.table("data", [&](Fields& f) { read_data(f, config.data); });
  if (!fields.has("data"))
    fields.fail(usage_error("{}: expected a table 'data' with 'paths'", file));
  fields.table("model", [&](Fields& f) {
    if (fresh) {
      read_new_model(f, config.model);
    } else {
      check_known_model(f, config.model, config.from);
    }
  });
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

  if (const auto objective = Objective::create(config.objective, config.model, config.seed);
      !objective) {
    return usage_error("{}: 'objective': {}", file, objective.error().message);
  }
  set_steps(config.steps, config);
  const int32_t rows = config.data.sequence_length;
  if (config.model.max_positions < rows) {
    if (!fresh) {
      return usage_error(
          "{}: 'data.sequence_length': expected at most {}, the positions of {}, found {}", file,
          config.model.max_positions, config.from, rows);
    }
    config.model.max_positions = rows;
  }
  // The model decodes as it was trained last.
  config.model.attention_block =
      config.objective.kind == ObjectiveOptions::Kind::block ? config.objective.block_size : 0;
  return config;
}

void set_steps(int64_t steps, TrainConfig& config) {
  config.steps = config.learning_rate.steps = steps;
  if (config.warmup_share > 0) {
    config.learning_rate.warmup = std::lround(config.warmup_share * static_cast<double>(steps));
  }
}

Status adopt_tokenizer(const Tokenizer& tokenizer, TrainConfig& config) {
  if (!tokenizer.mask_token() || !tokenizer.end_token()) {
    return usage_error(
        "{}: the tokenizer has no {} token; name one with data.{}_token (it is added when the "
        "vocabulary lacks it)",
        config.data.tokenizer, tokenizer.mask_token() ? "end" : "mask",
        tokenizer.mask_token() ? "end" : "mask");
  }
  if (!config.from.empty()) {
    UNMASK_TRY_STATUS(check_tokenizer(tokenizer, config));
    return validate(config.model);
  }
  config.model.vocab_size = tokenizer.vocab_size();
  config.model.mask_token = *tokenizer.mask_token();
  config.model.end_token = *tokenizer.end_token();
  config.model.pad_token = *tokenizer.end_token();
  return validate(config.model);
}

}  // namespace unmask
