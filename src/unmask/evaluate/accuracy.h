#pragma once

#include <cstdint>

namespace unmask {

// A share of right answers, and where the true share is with 95 % probability: the score interval
// of Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
struct Accuracy {
  int64_t count = 0;
  double share = 0;
  double low = 0;
  double high = 1;
};

// `right` of `count` answers; with part marks `right` need not be whole. 0 <= right <= count.
Accuracy accuracy_of(double right, int64_t count);

}  // namespace unmask
