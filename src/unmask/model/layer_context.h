#pragma once

#include "unmask/base/arena.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/rope.h"
#include "unmask/model/batch.h"
#include "unmask/model/config.h"
#include "unmask/model/profile.h"

namespace unmask {

// What every layer of one pass shares.
struct LayerContext {
  const ModelConfig& config;
  const RopeTable& rope;
  const Batch& batch;
  Precision precision;
  bool training;   // auxiliary losses are wanted
  Arena& scratch;  // work memory; a layer gives back what it takes
  Profile& profile;
};

}  // namespace unmask
