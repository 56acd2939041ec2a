#pragma once

#include <span>
#include <string_view>

#include "unmask/base/result.h"
#include "unmask/model/config.h"

namespace unmask {

// The shapes of published models, as their config.json has them (docs/checkpoints.md).
struct PublishedModel {
  std::string_view name;  // "llada2-mini"
  ModelConfig config;
};

std::span<const PublishedModel> published_models();

// By name; the error lists the names.
Result<ModelConfig> published_model(std::string_view name);

}  // namespace unmask
