#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/evaluate/tasks/task.h"

namespace unmask {

// Every task, in a file of its own; `settings`: how hard it is, the keys of docs/tasks.md. Unknown
// keys and impossible values are usage errors.
using MakeTask = Result<std::unique_ptr<Task>>(const nlohmann::json& settings);
MakeTask make_addition, make_arithmetic, make_word_problems, make_sorting, make_sudoku, make_infill;

struct TaskEntry {
  std::string_view name;
  MakeTask* make;
};
std::span<const TaskEntry> tasks();
std::vector<std::string> task_names();
const TaskEntry* find_task(std::string_view name);  // null = unknown

// The task by its name; an unknown one is an error that names the nearest.
Result<std::unique_ptr<Task>> make_task(std::string_view name, const nlohmann::json& settings);

}  // namespace unmask
