#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "unmask/evaluate/accuracy.h"

namespace unmask::cli {

// "91.2 % of 500 right (95 % interval 88.4 to 93.4)"
std::string accuracy_text(const Accuracy& accuracy);
nlohmann::json accuracy_json(const Accuracy& accuracy);

}  // namespace unmask::cli
