#pragma once

#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/diffusion/generate.h"

namespace unmask {

// What generating took (docs/decoding.md, "What is reported").
nlohmann::json report_json(const GenerateReport& report, std::span<const Generation> generations,
                           const ModelConfig& config);
std::string report_text(const GenerateReport& report, std::span<const Generation> generations,
                        const ModelConfig& config);

// How often an expert was found in memory, where they are read as needed.
nlohmann::json expert_cache_json(const ExpertCache::Counts& counts);
std::string expert_cache_text(const ExpertCache::Counts& counts);

}  // namespace unmask
