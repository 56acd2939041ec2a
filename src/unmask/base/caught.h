#pragma once

#include <exception>
#include <new>
#include <type_traits>

#include "unmask/base/result.h"

namespace unmask {

// What `work` returns, or what it throws, as a failure: no function of ours throws, but memory may
// end and a library may.
template <class Work>
std::invoke_result_t<Work> caught(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return failure(
        "not enough memory; smaller batches and sequences take less (train --plan says what a run "
        "needs)");
  } catch (const std::exception& error) {
    return failure("{}", error.what());
  }
}

}  // namespace unmask
