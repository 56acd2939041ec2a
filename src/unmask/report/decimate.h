#pragma once

#include <cstddef>
#include <span>
#include <vector>

// Long curves made short for a page, without losing what one looks for in them.

namespace unmask {

// Cuts rows [0, n) into pieces; returns their ends. At most `buckets` of them for `buckets` >= 400
// and up to 10^8 rows; exactly one row each while there are no more rows than that. Pieces grow
// with their place up to an even length, so that a logarithmic axis has a beginning too.
std::vector<size_t> bucket_ends(size_t rows, size_t buckets);

// At most `points` indices (>= 4), ascending: the first, the last, and the lowest and highest value
// of evenly spaced pieces, hence the extremes of the whole. Non-finite values are passed over.
std::vector<size_t> keep_extremes(std::span<const double> values, size_t points);

}  // namespace unmask
