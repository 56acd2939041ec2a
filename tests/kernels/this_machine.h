#pragma once

#include <cstddef>
#include <vector>

#include "unmask/kernels/isa/isa.h"

namespace unmask {

// The cases, each with the instruction set that it `needs`, which this machine can run.
template <class Case, size_t n>
std::vector<Case> of_this_machine(const Case (&all)[n]) {
  std::vector<Case> possible;
  for (const Case& c : all) {
    if (c.needs <= isa_in_use()) possible.push_back(c);
  }
  return possible;
}

}  // namespace unmask
