#include "unmask/report/svg_plot.h"

#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

int count(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return static_cast<int>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()));
}

TEST(RoundTicks, CoverTheRangeWithRoundNumbers) {
  EXPECT_EQ(round_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 0.4, 0.2 * 3, 0.8, 1}));
  EXPECT_EQ(round_ticks(0, 32, 6), (std::vector<double>{0, 10, 20, 30, 40}));
  EXPECT_EQ(round_ticks(-3, 9, 6), (std::vector<double>{-4, -2, 0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(round_ticks(0, 4e6, 4), (std::vector<double>{0, 1e6, 2e6, 3e6, 4e6}));
}

TEST(SvgPlot, DrawsCurvesTicksAndLabels) {
  const std::string svg = render_svg(
      {.title = "k < 3 & more",
       .x_label = "mask ratio",
       .y_label = "k",
       .curves = {
           {.label = "a", .x = {0, 1}, .y = {0, 4}},
           {.label = "b", .x = {0, 0.25, 0.5, 1}, .y = {2, 2, 1, 1}, .form = Curve::Form::steps}}});
  EXPECT_EQ(svg.find("k < 3"), std::string::npos);
  EXPECT_NE(svg.find("k &lt; 3 &amp; more"), std::string::npos);
  EXPECT_NE(svg.find(">mask ratio<"), std::string::npos);
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(count(svg, "class=\"c0 curve\""), 2);  // the curve and its place in the legend
  EXPECT_EQ(count(svg, "class=\"c1 curve\""), 2);
  // One step: across, down, across.
  EXPECT_EQ(count(svg, "class=\"c1 curve\" d=\"M[0-9.]+ [0-9.]+H[0-9.]+V[0-9.]+H[0-9.]+\""), 1);
  // The line runs from corner to corner of the axes: y from 0 to 4.
  EXPECT_EQ(count(svg, "class=\"c0 curve\" d=\"M64.0 344.0L[0-9.]+ 48.0\""), 1);
  EXPECT_EQ(count(svg, "class=\"grid\""), 9);  // every half
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(SvgPlot, DrawsOneBarForEveryPoint) {
  const std::string svg = render_svg(
      {.title = "load",
       .x_label = "expert",
       .y_label = "tokens",
       .curves = {{.label = "", .x = {0, 1, 2}, .y = {3, 0, 5}, .form = Curve::Form::bars}}});
  EXPECT_EQ(count(svg, "h[0-9.]+V[0-9.]+z"), 2);  // nothing for none
  EXPECT_EQ(count(svg, "class=\"c0 curve\""), 0) << "one curve needs no legend";
}

TEST(SvgPlot, BarsStandBesideTheAxis) {
  const std::string svg = render_svg(
      {.title = "load",
       .x_label = "expert",
       .y_label = "tokens",
       .curves = {{.label = "", .x = {0, 1, 2}, .y = {3, 4, 5}, .form = Curve::Form::bars}}});
  // A third of the width each, of which the bar takes four fifths: 64 + 632 / 30.
  EXPECT_EQ(count(svg, "class=\"c0 bars\" d=\"M85\\.1 "), 1);
}

TEST(SvgPlot, TheAxisBeginsAtZeroUnlessToldOtherwise) {
  Plot plot = {.title = "",
               .x_label = "",
               .y_label = "",
               .curves = {{.label = "", .x = {0, 1}, .y = {50, 60}}}};
  EXPECT_EQ(count(render_svg(plot), "text-anchor=\"end\">0<"), 1);
  plot.from_zero = false;
  EXPECT_EQ(count(render_svg(plot), "text-anchor=\"end\">0<"), 0);
}

TEST(SvgPlot, DrawsAPointAndAConstant) {
  for (const double y : {0.0, 7.0}) {
    const std::string svg = render_svg(
        {.title = "", .x_label = "", .y_label = "", .curves = {{.label = "", .x = {1}, .y = {y}}}});
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
  }
}

}  // namespace
}  // namespace unmask
