#pragma once

#include <string>

#include <gtest/gtest.h>

#include "unmask/evaluate/choice_questions.h"

namespace unmask {

inline const std::string kChoiceData = std::string(UNMASK_SOURCE_DIR) + "/tests/data/choice";

inline ChoiceData choice_data(const char* task, int32_t shots, const std::string& split = "") {
  auto data = read_choice_data(*find_choice_task(task), kChoiceData, split, shots);
  EXPECT_TRUE(data.ok()) << data.error().message;
  return std::move(data).value();
}

}  // namespace unmask
