#include "unmask/report/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "unmask/base/check.h"
#include "unmask/report/template.h"

namespace unmask {
namespace {

constexpr double kWidth = 720, kHeight = 400;  // of the picture
constexpr double kTop = 48, kBottom = 56, kLeft = 64, kRight = 24;
constexpr double kLetter = 7.2;  // mean width at 13 px
constexpr double kLegendLine = 20, kSwatch = 26;
constexpr size_t kColours = 8;

// Colours of middle lightness, told apart by most eyes on white and on black; the second four are
// dashed as well.
constexpr std::string_view kStyle = R"(<style>
text{font:13px system-ui,sans-serif;fill:#24292f}
.title{font-weight:600;font-size:15px}
.paper{fill:#fff}
.axis{stroke:#57606a;fill:none}
.grid{stroke:#d8dee4;fill:none}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}
.band{opacity:.18}
.whiskers{fill:none;stroke-width:1.5}
.c0{stroke:#2f7fc4;fill:#2f7fc4}.c1{stroke:#d0661f;fill:#d0661f}.c2{stroke:#23906b;fill:#23906b}
.c3{stroke:#bf4f91;fill:#bf4f91}.c4{stroke:#7d5fc4;fill:#7d5fc4}.c5{stroke:#94800f;fill:#94800f}
.c6{stroke:#c23b4e;fill:#c23b4e}.c7{stroke:#3b8b9b;fill:#3b8b9b}
.c4,.c5,.c6,.c7{stroke-dasharray:7 3}
.curve,.whiskers{fill:none}
.band,.dots,.bars{stroke:none}
.whiskers,.dots{stroke-dasharray:none}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}
.paper{fill:#0d1117}
.axis{stroke:#9198a1}
.grid{stroke:#2a313c}
}
</style>
)";

struct Range {
  double low, high;
};

// A range of data on the page.
struct Axis {
  Range data, page;
  double operator()(double value) const {
    return page.low + (value - data.low) / (data.high - data.low) * (page.high - page.low);
  }
};

// Of all that is drawn along one axis.
Range range_of(const Plot& plot, std::span<std::vector<double> Curve::*const> parts) {
  Range range = {(plot.curves[0].*parts[0])[0], (plot.curves[0].*parts[0])[0]};
  for (const Curve& curve : plot.curves) {
    for (const auto part : parts) {
      for (const double value : curve.*part) {
        range = {std::min(range.low, value), std::max(range.high, value)};
      }
    }
  }
  return range;
}

// Names of the x axis are written aslant, into a margin of their own.
double name_margin(const Plot& plot) {
  size_t longest = 0;
  for (const std::string& name : plot.x_names) longest = std::max(longest, name.size());
  return 0.6 * kLetter * static_cast<double>(longest);
}

double legend_width(const Plot& plot) {
  if (plot.curves.size() < 2) return 0;
  size_t longest = 0;
  for (const Curve& curve : plot.curves) longest = std::max(longest, curve.label.size());
  return kSwatch + 8 + kLetter * static_cast<double>(longest);
}

void draw_x_ticks(const Plot& plot, const Axis& x, double bottom, const std::vector<double>& ticks,
                  std::string& svg) {
  for (size_t i = 0; i < plot.x_names.size(); ++i) {
    const double at = x(static_cast<double>(i));
    svg += fmt::format(
        "<path class=\"axis\" d=\"M{0:.1f} {1:.1f}v5\"/><text transform=\"translate({2:.1f} "
        "{3:.1f}) rotate(-35)\" text-anchor=\"end\">{4}</text>\n",
        at, bottom, at + 4, bottom + 16, escape_html(plot.x_names[i]));
  }
  if (!plot.x_names.empty()) return;
  for (const double tick : ticks) {
    svg += fmt::format(
        "<path class=\"axis\" d=\"M{:.1f} {:.1f}v5\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.6g}</text>\n",
        x(tick), bottom, x(tick), bottom + 20, tick);
  }
}

void draw_axes(const Plot& plot, const Axis& x, const Axis& y, const std::vector<double>& x_ticks,
               const std::vector<double>& y_ticks, double height, std::string& svg) {
  for (const double tick : y_ticks) {
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.6g}</text>\n",
        x.page.low, y(tick), x.page.high, x.page.low - 8, y(tick) + 4.5, tick);
  }
  draw_x_ticks(plot, x, y.page.low, x_ticks, svg);
  svg += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", x.page.low, y.page.low,
                     x.page.high);
  svg += fmt::format("<text class=\"title\" x=\"{:.1f}\" y=\"26\">{}</text>\n", x.page.low,
                     escape_html(plot.title));
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                     (x.page.low + x.page.high) / 2, height - 14, escape_html(plot.x_label));
  svg += fmt::format(
      "<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      (y.page.low + y.page.high) / 2, escape_html(plot.y_label));
}

std::string bars(const Curve& curve, const Axis& x, const Axis& y) {
  const double spacing =
      (x.page.high - x.page.low) / (x.data.high - x.data.low);  // points are one apart
  const double width = std::max(0.5, 0.8 * spacing);
  std::string path;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    if (curve.y[i] == 0) continue;
    path += fmt::format("M{:.1f} {:.1f}V{:.1f}h{:.1f}V{:.1f}z", x(curve.x[i]) - width / 2, y(0),
                        y(curve.y[i]), width, y(0));
  }
  return path;
}

std::string line(const Curve& curve, const Axis& x, const Axis& y) {
  std::string path;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    path += fmt::format("{}{:.1f} {:.1f}", i == 0 ? 'M' : 'L', x(curve.x[i]), y(curve.y[i]));
  }
  return path;
}

std::string steps(const Curve& curve, const Axis& x, const Axis& y) {
  std::string path = fmt::format("M{:.1f} {:.1f}", x(curve.x[0]), y(curve.y[0]));
  for (size_t i = 1; i < curve.x.size(); ++i) {
    if (curve.y[i] == curve.y[i - 1]) continue;
    path += fmt::format("H{:.1f}V{:.1f}", x(curve.x[i]), y(curve.y[i]));
  }
  return path + fmt::format("H{:.1f}", x(curve.x.back()));
}

std::string band(const Curve& curve, const Axis& x, const Axis& y) {
  std::string path;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    path += fmt::format("{}{:.1f} {:.1f}", i == 0 ? 'M' : 'L', x(curve.x[i]), y(curve.high[i]));
  }
  for (size_t i = curve.x.size(); i-- > 0;) {
    path += fmt::format("L{:.1f} {:.1f}", x(curve.x[i]), y(curve.low[i]));
  }
  return path + "z";
}

std::string dots(const Curve& curve, const Axis& x, const Axis& y) {
  std::string path;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    path += fmt::format("M{:.1f} {:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x(curve.x[i]) - 4,
                        y(curve.y[i]));
  }
  return path;
}

std::string whiskers(const Curve& curve, const Axis& x, const Axis& y) {
  std::string path;
  for (size_t i = 0; i < curve.low.size(); ++i) {
    path += fmt::format("M{0:.1f} {1:.1f}h8m-4 0V{2:.1f}m-4 0h8", x(curve.x[i]) - 4,
                        y(curve.low[i]), y(curve.high[i]));
  }
  return path;
}

void draw_curve(const Curve& curve, size_t index, const Axis& x, const Axis& y, std::string& svg) {
  const auto draw = [&](const char* what, const std::string& path) {
    svg += fmt::format("<path class=\"c{} {}\" d=\"{}\"/>\n", index % kColours, what, path);
  };
  if (curve.form == Curve::Form::points) {
    if (!curve.low.empty()) draw("whiskers", whiskers(curve, x, y));
    return draw("dots", dots(curve, x, y));
  }
  if (!curve.low.empty()) draw("band", band(curve, x, y));
  const std::string path = curve.form == Curve::Form::bars    ? bars(curve, x, y)
                           : curve.form == Curve::Form::steps ? steps(curve, x, y)
                                                              : line(curve, x, y);
  draw(curve.form == Curve::Form::bars ? "bars" : "curve", path);
}

void draw_legend(const Plot& plot, double left, std::string& svg) {
  if (plot.curves.size() < 2) return;
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    const double y = kTop + 10 + kLegendLine * static_cast<double>(i);
    svg += fmt::format(
        "<path class=\"c{} curve\" d=\"M{:.1f} {:.1f}h{:.0f}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        i % kColours, left, y, kSwatch, left + kSwatch + 8, y + 4.5,
        escape_html(plot.curves[i].label));
  }
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= rough * (1 - 1e-9)) {
      step = digit * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string render_svg(const Plot& plot) {
  UNMASK_CHECK(!plot.curves.empty());
  for (const Curve& curve : plot.curves) {
    UNMASK_CHECK(!curve.x.empty() && curve.x.size() == curve.y.size());
    UNMASK_CHECK(curve.low.size() == curve.high.size());
    UNMASK_CHECK(curve.low.empty() || curve.low.size() == curve.x.size());
  }
  using Part = std::vector<double> Curve::*;
  constexpr Part kAcross[] = {&Curve::x}, kUp[] = {&Curve::y, &Curve::low, &Curve::high};
  Range across = range_of(plot, kAcross);
  const bool has_bars = plot.curves[0].form == Curve::Form::bars;
  if (!plot.x_names.empty()) {
    across = {-0.5, static_cast<double>(plot.x_names.size()) - 0.5};
  } else if (has_bars) {
    across = {across.low - 0.5, across.high + 0.5};
  }
  if (across.low == across.high) across.high = across.low + 1;
  const Range up = range_of(plot, kUp);
  const double low = plot.from_zero ? std::min(0.0, up.low) : up.low;
  const auto y_ticks = round_ticks(low, up.high > low ? up.high : low + 1, 8);
  auto x_ticks = round_ticks(across.low, across.high, 10);
  std::erase_if(x_ticks,
                [&](double tick) { return tick < across.low || tick > across.high + 1e-9; });

  const double legend = legend_width(plot);
  const double right = kWidth - kRight - (legend > 0 ? legend + 16 : 0);
  const Axis x = {across, {kLeft, right}};
  const Axis y = {{y_ticks.front(), y_ticks.back()}, {kHeight - kBottom, kTop}};
  const double height = kHeight + name_margin(plot);

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" role=\"img\">\n<title>{2}</title>\n{3}<rect class=\"paper\" "
      "width=\"100%\" height=\"100%\"/>\n",
      kWidth, height, escape_html(plot.title), kStyle);
  draw_axes(plot, x, y, x_ticks, y_ticks, height, svg);
  for (size_t i = 0; i < plot.curves.size(); ++i) draw_curve(plot.curves[i], i, x, y, svg);
  draw_legend(plot, right + 16, svg);
  return svg + "</svg>\n";
}

}  // namespace unmask
