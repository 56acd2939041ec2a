#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/logits_file.h"
#include "unmask/cli/output_path.h"
#include "unmask/cli/policy_file.h"
#include "unmask/report/svg_plot.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/router.h"
#include "unmask/routing/statistics.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

struct RouteArguments {
  std::string policy;
  std::vector<std::string> settings;
  std::string in;
  std::string out;
  std::string backward;
  int32_t shared_experts = 0;
  std::string sweep;
  std::vector<std::string> shown = {"unique_experts_per_block", "experts_per_token.mean"};
  std::string plot;
  std::string title;
};

// A policy applied to logits.
struct Routed {
  RoutingPolicy policy;
  std::unique_ptr<Router> router;
  Assignment assignment;
  Decision decision;
  std::vector<int32_t> expert;  // [slots]
  RoutingStatistics statistics;
};

Result<Routed> route(const RouteArguments& arguments, const std::vector<std::string>& settings,
                     const LogitsFile& input) {
  Routed routed;
  UNMASK_TRY(routed.policy, read_policy_file(arguments.policy, settings));
  auto router = make_router(routed.policy, input.experts, arguments.shared_experts);
  if (!router) return in_policy_file(router.error(), arguments.policy);
  if (varies(routed.policy) && input.masked.empty()) {
    return usage_error(
        "{}: expected a tensor \"masked\" (U8 [{}, {}], 1 = the token is masked): the policy's "
        "capacity follows the mask ratio",
        arguments.in, input.sequences, input.length);
  }
  routed.router = std::move(*router);
  if (routed.router->max_slots(input.tokens(), input.length) >
      std::numeric_limits<int32_t>::max()) {
    return usage_error(
        "{}: expected fewer than 2^31 pairs of a token and an expert; take fewer "
        "sequences at once",
        arguments.in);
  }
  routed.router->select(input.matrix(), input.context(), routed.assignment, routed.decision);
  routed.router->weigh_forward(input.matrix(), routed.decision, routed.assignment);
  measure_routing(routed.policy, input.matrix(), routed.decision, routed.assignment,
                  input.context(), routed.statistics);
  for (int32_t e = 0; e < input.experts; ++e) {
    routed.expert.insert(routed.expert.end(), routed.assignment.load(e), e);
  }
  return routed;
}

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

// A member, or an element by its number; null where there is none.
const json* part_of(const json& whole, const std::string& name) {
  if (whole.is_array()) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool number = error == std::errc() && end == name.data() + name.size();
    return number && index < whole.size() ? &whole[index] : nullptr;
  }
  const auto found = whole.find(name);
  return found == whole.end() ? nullptr : &*found;
}

// "experts_per_token.mean" of the statistics, or "load.0".
Result<double> number_at(const json& statistics, const std::string& name) {
  const json* value = &statistics;
  for (size_t begin = 0; value != nullptr && begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    value = part_of(*value, name.substr(begin, end - begin));
    begin = end + 1;
  }
  if (value != nullptr && value->is_number()) return value->get<double>();
  return usage_error("--show: expected the name of a number that is printed, found {}", name);
}

// One key of the policy through several values: statistics of each, and a figure of some of them.
Status sweep(const RouteArguments& arguments, const LogitsFile& input) {
  const size_t equals = arguments.sweep.find('=');
  if (equals == std::string::npos) {
    return usage_error("--sweep: expected KEY=VALUE,VALUE…, found {}", arguments.sweep);
  }
  const std::string key = arguments.sweep.substr(0, equals);
  json all = json::array();
  std::vector<Curve> curves;
  for (const std::string& name : arguments.shown)
    curves.push_back({.label = name, .x = {}, .y = {}});
  for (const std::string& value : CLI::detail::split(arguments.sweep.substr(equals + 1), ',')) {
    std::vector<std::string> settings = arguments.settings;
    settings.push_back(key + "=" + value);
    UNMASK_TRY(const Routed routed, route(arguments, settings, input));
    const json statistics = to_json(routed.statistics);
    double x = 0;
    if (!arguments.plot.empty() && !CLI::detail::lexical_cast(value, x)) {
      return usage_error("--sweep: expected numbers for a figure, found {}", value);
    }
    for (Curve& curve : curves) {
      UNMASK_TRY(const double y, number_at(statistics, curve.label));
      curve.x.push_back(x);
      curve.y.push_back(y);
    }
    all.push_back({{"setting", settings.back()}, {"statistics", statistics}});
  }
  fmt::print("{}\n", to_text(all));
  if (arguments.plot.empty()) return {};
  const Plot plot = {
      .title = arguments.title.empty() ? "Statistics against " + key : arguments.title,
      .x_label = key,
      .y_label = curves.size() == 1 ? curves[0].label : "",
      .curves = curves};
  return write_file_atomically(arguments.plot, render_svg(plot));
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
  if (!arguments.sweep.empty()) return sweep(arguments, input);

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
