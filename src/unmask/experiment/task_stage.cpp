#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <utility>

#include "unmask/base/document.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/loaded_model.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/diffusion/generation_report.h"
#include "unmask/evaluate/answers.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/evaluate/tasks/registry.h"
#include "unmask/evaluate/written_text.h"
#include "unmask/experiment/changed_routing.h"
#include "unmask/experiment/stage.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Keys of the stage's table.
struct TaskKeys {
  std::string task;
  json settings = json::object();
  int64_t count = 200;
  uint64_t seed = 0;
  json routing = json::object();
  std::string sweep_key;       // of the routing; empty: nothing is swept
  std::vector<double> values;  // that it takes
  bool all_checkpoints = false;
  int32_t batch = 1;  // as a reader of one text waits; more change no answer
  SamplerOptions sampler;
};

// One evaluation: a checkpoint under a policy.
struct Point {
  double x = 0;  // the swept value, or the training step
  std::string model;
  json routing;
};

// What evaluations gave, a column for each number.
using Columns = std::map<std::string, std::vector<double>>;

void read_sweep(Fields& fields, TaskKeys& keys) {
  const json* const sweep = fields.find("sweep");
  if (sweep == nullptr) return;
  if (!sweep->is_object() || sweep->size() != 1) {
    return fields.refuse("sweep", "a table of one routing key and its values");
  }
  keys.sweep_key = sweep->begin().key();
  Fields values(*sweep, fields.path_of("sweep"));
  values.read(keys.sweep_key, keys.values);
  if (const Status status = values.finish(); !status) fields.fail(status.error());
}

Result<TaskKeys> read_keys(const StageSpec& spec, const ExperimentSpec& experiment) {
  TaskKeys keys;
  std::string checkpoints = "last";
  Fields fields(spec.keys, spec.name, experiment.directory);
  fields.require("what", keys.task);
  if (const json* found = fields.find("set")) keys.settings = *found;
  fields.read_between("count", keys.count, 1);
  fields.read("seed", keys.seed);
  if (const json* found = fields.find("routing")) keys.routing = *found;
  read_sweep(fields, keys);
  fields.read_enum("checkpoints", keys.all_checkpoints, {{"last", false}, {"all", true}});
  fields.read_between("batch", keys.batch, 1);
  fields.read("sampler", keys.sampler.policy);
  fields.read("threshold", keys.sampler.threshold);
  UNMASK_TRY_STATUS(fields.finish());
  if (experiment.quick_count > 0) keys.count = std::min(keys.count, experiment.quick_count);
  return keys;
}

// Accuracy of the model before on questions of the task `what`, and what its decoding reads.
class TaskStage final : public Stage {
 public:
  TaskStage(TaskKeys keys, std::string file, std::string model)
      : keys_(std::move(keys)), file_(std::move(file)), model_(std::move(model)) {}

  json description() const override {
    json sampler = {{"policy", keys_.sampler.policy}};
    if (keys_.sampler.threshold) sampler["threshold"] = *keys_.sampler.threshold;
    json sweep = json::object();
    if (!keys_.sweep_key.empty()) sweep[keys_.sweep_key] = keys_.values;
    return {{"task", keys_.task},
            {"set", keys_.settings},
            {"count", keys_.count},
            {"seed", keys_.seed},
            {"routing", keys_.routing},
            {"sweep", std::move(sweep)},
            {"batch", keys_.batch},
            {"model", model_},
            {"sampler", std::move(sampler)},
            {"all_checkpoints", keys_.all_checkpoints}};
  }

  Result<std::optional<Measured>> run(const std::atomic<bool>& stop) override {
    UNMASK_TRY(const auto task, make_task(keys_.task, keys_.settings));
    UNMASK_TRY(const auto examples, draw_examples(*task, Split::test, keys_.count, keys_.seed));
    UNMASK_TRY(const std::vector<Point> points, this->points());
    Columns measured, timed;
    std::vector<double> by_step;
    for (const Point& point : points) {
      measured["x"].push_back(point.x);
      UNMASK_TRY_STATUS(evaluate(*task, examples, point, stop, measured, timed, by_step));
      if (stop.load()) return std::optional<Measured>();
    }
    return std::optional(put_together(measured, timed, by_step));
  }

 private:
  Result<std::vector<Point>> points() const {
    if (keys_.all_checkpoints) {
      std::vector<Point> points;
      for (const CheckpointEntry& entry :
           list_checkpoints(fs::path(model_).parent_path().parent_path().string())) {
        points.push_back({static_cast<double>(entry.step), entry.path, keys_.routing});
      }
      return points;
    }
    if (keys_.sweep_key.empty()) return std::vector<Point>{{0, model_, keys_.routing}};
    std::vector<Point> points;
    for (const double value : keys_.values) {
      json routing = keys_.routing;
      UNMASK_TRY_STATUS(set_value(routing, fmt::format("{}={}", keys_.sweep_key, value)));
      points.push_back({value, model_, std::move(routing)});
    }
    return points;
  }

  Status evaluate(const Task& task, std::span<const TaskExample> examples, const Point& point,
                  const std::atomic<bool>& stop, Columns& measured, Columns& timed,
                  std::vector<double>& by_step) const {
    const LoadOptions load = {.adjust = [&](ModelConfig& config) {
      return change_routing(point.routing, file_, config);
    }};
    UNMASK_TRY(Model model, load_model(point.model, load));
    UNMASK_TRY(const auto tokenizer, load_tokenizer(point.model, model.config()));
    UNMASK_TRY(const TextEnds ends, TextEnds::of_answers(*tokenizer));
    AnswerOptions options;
    options.batch = keys_.batch;
    options.generate.sampler = keys_.sampler;
    options.generate.cancel = &stop;
    end_at(ends, *tokenizer, options.generate);
    Tape tape;
    UNMASK_TRY(const TaskEvaluation result,
               evaluate_task(model, *tokenizer, task, examples, options, ends.strings, tape));
    const json report = report_json(result.report, result.generations, model.config());
    measured["accuracy"].push_back(result.accuracy.share);
    for (const char* name : {"unique_experts", "expert_bytes_per_step", "tokens_per_forward"}) {
      measured[name].push_back(report[name]);
    }
    const double seconds = report["seconds"]["total"];
    timed["tokens_per_second"].push_back(report["committed"].get<double>() / seconds);
    timed["ms_per_forward"].push_back(1e3 * seconds / report["forwards"]["passes"].get<double>());
    by_step = unique_experts_by_step(result.generations);
    return {};
  }

  // Mean over the answers that had so many steps.
  static std::vector<double> unique_experts_by_step(std::span<const Generation> generations) {
    std::vector<double> sum, count;
    for (const Generation& g : generations) {
      const auto& steps = g.unique_experts_by_step;
      sum.resize(std::max(sum.size(), steps.size()));
      count.resize(sum.size());
      for (size_t i = 0; i < steps.size(); ++i) {
        sum[i] += steps[i];
        count[i] += 1;
      }
    }
    for (size_t i = 0; i < sum.size(); ++i) sum[i] /= count[i];
    return sum;
  }

  // Values are those of the last point: what a training came to, or the only one.
  static Measured put_together(const Columns& measured, const Columns& timed,
                               const std::vector<double>& by_step) {
    Measured all;
    for (const auto& [name, column] : measured) {
      all.curves["points"][name] = column;
      if (name != "x") all.values[name] = column.back();
    }
    for (const auto& [name, column] : timed) {
      all.timed_curves["points"][name] = column;
      all.timed_values[name] = column.back();
    }
    std::vector<int64_t> steps(by_step.size());
    std::iota(steps.begin(), steps.end(), 1);
    all.curves["denoising"] = {{"step", steps}, {"unique_experts", by_step}};
    return all;
  }

  TaskKeys keys_;
  std::string file_, model_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_task_stage(const StageSpec& spec, const StagePlace& place) {
  if (place.model.empty()) {
    return usage_error("{}: stage \"{}\": expected a model to ask, from an earlier stage",
                       place.experiment.directory, spec.name);
  }
  UNMASK_TRY(TaskKeys keys, read_keys(spec, place.experiment));
  return std::unique_ptr<Stage>(
      std::make_unique<TaskStage>(std::move(keys), place.experiment.directory, place.model));
}

}  // namespace unmask
