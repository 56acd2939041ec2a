#include "unmask/report/decimate.h"

#include <algorithm>
#include <cmath>

#include "unmask/base/check.h"

namespace unmask {
namespace {

void sort_unique(std::vector<size_t>& indices) {
  std::sort(indices.begin(), indices.end());
  indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
}

}  // namespace

std::vector<size_t> bucket_ends(size_t rows, size_t buckets) {
  std::vector<size_t> ends;
  const size_t longest = rows <= buckets ? 1 : (rows * 5 + buckets * 3 - 1) / (buckets * 3);
  for (size_t end = 0; end < rows;) {
    end += std::clamp<size_t>(end / 10, 1, longest);
    ends.push_back(std::min(end, rows));
  }
  return ends;
}

std::vector<size_t> keep_extremes(std::span<const double> values, size_t points) {
  UNMASK_CHECK(points >= 4);
  std::vector<size_t> kept;
  if (values.size() <= points) {
    for (size_t i = 0; i < values.size(); ++i) kept.push_back(i);
    return kept;
  }
  const size_t pieces = (points - 2) / 2;
  kept = {0, values.size() - 1};
  for (size_t piece = 0; piece < pieces; ++piece) {
    size_t low = values.size();
    size_t high = values.size();
    for (size_t i = values.size() * piece / pieces; i < values.size() * (piece + 1) / pieces; ++i) {
      if (!std::isfinite(values[i])) continue;
      if (low == values.size() || values[i] < values[low]) low = i;
      if (high == values.size() || values[i] > values[high]) high = i;
    }
    if (low == values.size()) continue;
    kept.push_back(low);
    kept.push_back(high);
  }
  sort_unique(kept);
  return kept;
}

}  // namespace unmask
