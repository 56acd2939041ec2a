#pragma once

#include <string>
#include <vector>

namespace unmask {

// One set of points of a figure.
struct Curve {
  enum class Form {
    line,    // points joined
    steps,   // y[i] holds from x[i] to x[i + 1]
    bars,    // one for each point, from zero
    points,  // not joined
  };
  std::string label;
  std::vector<double> x = {}, y = {};  // equally many, at least one, finite, x ascending
  Form form = Form::line;
  // Where y may be, as many or none: a band around a line, whiskers at points.
  std::vector<double> low = {}, high = {};
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Curve> curves = {};         // at least one
  bool from_zero = true;                  // the y axis, unless values are below
  std::vector<std::string> x_names = {};  // in place of ticks at 0, 1, …
};

// A small SVG that stands by itself: axes with round ticks, a legend when there are several
// curves, legible on light and dark pages.
std::string render_svg(const Plot& plot);

// Multiples of 1, 2 or 5 times a power of ten, about `count` of them, that cover [low, high].
std::vector<double> round_ticks(double low, double high, int count);

}  // namespace unmask
