#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/cli/routed.h"
#include "unmask/report/svg_plot.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

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

}  // namespace

Status sweep_route(const RouteArguments& arguments, const LogitsFile& input) {
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

}  // namespace unmask::cli
