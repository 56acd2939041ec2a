#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/output_path.h"
#include "unmask/cli/routed.h"
#include "unmask/report/svg_plot.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

// What is written, gathered before the file is opened.
class Output {
 public:
  template <class T>
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape,
           std::vector<T> values) {
    specs_.push_back({.name = name, .dtype = dtype, .shape = std::move(shape)});
    writes_.push_back([values = std::move(values)](SafetensorsWriter& writer) {
      return writer.append(std::span<const T>(values));
    });
  }

  // What stood there before stays until all is written; a device or a pipe is written to.
  Status write(const std::string& path) const {
    return replace_file(path, [&](const std::string& place) -> Status {
      UNMASK_TRY(SafetensorsWriter writer, SafetensorsWriter::create(place, specs_));
      for (const auto& append : writes_) UNMASK_TRY_STATUS(append(writer));
      return writer.finish();
    });
  }

 private:
  std::vector<TensorSpec> specs_;
  std::vector<std::function<Status(SafetensorsWriter&)>> writes_;
};

// Experts and weights of every token, as lists and as maps.
void add_assignment(const Routed& routed, Output& output) {
  const Assignment& assignment = routed.assignment;
  const int64_t tokens = assignment.tokens, experts = assignment.experts;
  int64_t most = 1;
  for (int32_t t = 0; t < tokens; ++t) most = std::max(most, std::ssize(assignment.slots_of(t)));
  std::vector<int32_t> indices(tokens * most, -1);
  std::vector<float> weights(tokens * most), gates(tokens * experts);
  std::vector<uint8_t> map(tokens * experts);
  for (int32_t t = 0; t < tokens; ++t) {
    int64_t at = t * most;
    for (const int32_t slot : assignment.slots_of(t)) {  // experts ascending
      const int32_t e = routed.expert[slot];
      indices[at] = e;
      weights[at++] = assignment.gate[slot];
      map[t * experts + e] = 1;
      gates[t * experts + e] = assignment.gate[slot];
    }
  }
  output.add("indices", DType::i32, {tokens, most}, std::move(indices));
  output.add("weights", DType::f32, {tokens, most}, std::move(weights));
  output.add("routing_map", DType::u8, {tokens, experts}, std::move(map));
  output.add("gates", DType::f32, {tokens, experts}, std::move(gates));
}

// What the policy decided for groups of tokens.
void add_decision(const LogitsFile& input, const Routed& routed, Output& output) {
  const Decision& decision = routed.decision;
  const int64_t groups = std::ssize(decision.capacity), blocks = std::ssize(decision.blocks);
  if (groups > 0) {
    output.add("capacity", DType::i32, {groups}, decision.capacity);
  }
  if (!decision.coreset.empty()) {
    output.add("coreset", DType::u8, {blocks, input.experts}, decision.coreset);
  }
}

bool has_losses(const RoutingPolicy& policy) {
  const auto& balance = policy.balance;
  return balance.switch_loss != 0 || balance.sequence_loss != 0 || balance.z_loss != 0;
}

// The auxiliary losses, and their gradient into `output`.
json add_losses(const LogitsFile& input, Routed& routed, Output& output) {
  std::vector<float> d_logits(input.logits.size());
  const BalanceLoss loss =
      routed.router->balance(input.matrix(), input.context(), routed.decision, routed.assignment,
                             1.0f, {d_logits.data(), input.tokens(), input.experts});
  output.add("dlogits_balance", DType::f32, {input.sequences, input.length, input.experts},
             std::move(d_logits));
  return {{"switch", loss.switch_loss},
          {"sequence", loss.sequence_loss},
          {"z", loss.z_loss},
          {"total", loss.total()}};
}

// The gradient of sum(dgates * gates) through the combine weights.
Status add_gradient(const std::string& path, const LogitsFile& input, Routed& routed,
                    Output& output) {
  UNMASK_TRY(const Safetensors file, Safetensors::open(path));
  UNMASK_TRY_STATUS(find_tensor(file, path, "dgates"));
  UNMASK_TRY(const std::vector<float> d_gates,
             read_finite(file, "dgates", {input.tokens(), input.experts}));
  std::vector<float> d_slots(routed.assignment.slots());
  for (size_t slot = 0; slot < d_slots.size(); ++slot) {
    const int64_t t = routed.assignment.token[slot];
    d_slots[slot] = d_gates[t * input.experts + routed.expert[slot]];
  }
  std::vector<float> d_logits(input.logits.size());
  routed.router->weigh_backward(input.matrix(), routed.decision, routed.assignment, d_slots,
                                {d_logits.data(), input.tokens(), input.experts});
  output.add("dlogits", DType::f32, {input.sequences, input.length, input.experts},
             std::move(d_logits));
  return {};
}

Plot load_plot(const RouteArguments& arguments, const Routed& routed) {
  std::vector<int32_t> load = routed.statistics.load;
  std::sort(load.rbegin(), load.rend());
  Curve curve = {.label = "tokens", .x = {}, .y = {}, .form = Curve::Form::bars};
  for (size_t i = 0; i < load.size(); ++i) {
    curve.x.push_back(static_cast<double>(i + 1));
    curve.y.push_back(load[i]);
  }
  return {.title = arguments.title.empty() ? fmt::format("Load of the experts, max / mean {:.2f}",
                                                         routed.statistics.max_over_mean_load)
                                           : arguments.title,
          .x_label = "experts, the fullest first",
          .y_label = "tokens",
          .curves = {std::move(curve)}};
}

Status route_command(const RouteArguments& arguments) {
  if (arguments.shared_experts < 0) {
    return usage_error("--shared-experts: expected 0 or more, found {}", arguments.shared_experts);
  }
  const std::vector<std::string> inputs = {arguments.in, arguments.backward, arguments.policy};
  UNMASK_TRY_STATUS(keep_inputs("--out", arguments.out, inputs));
  UNMASK_TRY_STATUS(keep_inputs("--plot", arguments.plot, inputs));
  if (!arguments.sweep.empty() && !(arguments.out.empty() && arguments.backward.empty())) {
    return usage_error("--sweep: expected neither --out nor --backward, which take one policy");
  }
  if (!arguments.backward.empty() && arguments.out.empty()) {
    return usage_error("--backward: expected --out, where dlogits goes");
  }
  UNMASK_TRY(const LogitsFile input, read_logits_file(arguments.in));
  if (!arguments.sweep.empty()) return sweep_route(arguments, input);

  UNMASK_TRY(Routed routed, route(arguments, arguments.settings, input));
  json statistics = to_json(routed.statistics);
  Output output;
  add_assignment(routed, output);
  add_decision(input, routed, output);
  if (has_losses(routed.policy)) statistics["balance"] = add_losses(input, routed, output);
  if (!arguments.backward.empty()) {
    UNMASK_TRY_STATUS(add_gradient(arguments.backward, input, routed, output));
  }
  if (!arguments.out.empty()) UNMASK_TRY_STATUS(output.write(arguments.out));
  if (!arguments.plot.empty()) {
    UNMASK_TRY_STATUS(
        write_file_atomically(arguments.plot, render_svg(load_plot(arguments, routed))));
  }
  fmt::print("{}\n", to_text(statistics));
  return {};
}

}  // namespace

void add_route(CLI::App& program, Run& run) {
  const auto a = std::make_shared<RouteArguments>();
  CLI::App* command =
      program.add_subcommand("route", "Apply a routing policy to logits (docs/routing/route.md)");
  command->add_option("--policy,-p", a->policy, "TOML file, keys as in docs/routing")->required();
  command->add_option("--set", a->settings, "key=value over the file, repeatable")
      ->allow_extra_args(false);
  command->add_option("--in,-i", a->in, "safetensors with logits F32 [B, S, E]")->required();
  command->add_option("--out,-o", a->out, "safetensors to write");
  command->add_option("--backward", a->backward, "safetensors with dgates F32 [B*S, E]");
  command->add_option("--shared-experts", a->shared_experts, "For scale = \"monte-carlo\"")
      ->capture_default_str();
  command->add_option("--sweep", a->sweep, "KEY=V,V…: statistics of the policy with each value");
  command->add_option("--plot", a->plot, "SVG of the experts' load, or of what --sweep measured");
  command->add_option("--show", a->shown, "Statistics in the figure of a sweep, repeatable")
      ->capture_default_str()
      ->allow_extra_args(false);
  command->add_option("--title", a->title, "Of the figure");
  command->callback([&run, a] { run = [a] { return route_command(*a); }; });
}

}  // namespace unmask::cli
