#pragma once

#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/diffusion/generate.h"

namespace unmask::cli {

// What generating took (docs/decoding.md, "What is reported").
nlohmann::json report_json(const GenerateReport& report, std::span<const Generation> generations,
                           const ModelConfig& config);
std::string report_text(const GenerateReport& report, std::span<const Generation> generations,
                        const ModelConfig& config);

}  // namespace unmask::cli
