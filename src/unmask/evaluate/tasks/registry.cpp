#include "unmask/evaluate/tasks/registry.h"

#include <fmt/ranges.h>

#include "unmask/base/document.h"

namespace unmask {
namespace {

constexpr TaskEntry kTasks[] = {
    {"addition", make_addition},
    {"arithmetic", make_arithmetic},
    {"word-problems", make_word_problems},
    {"sorting", make_sorting},
    {"sudoku", make_sudoku},
    {"infill", make_infill},
};

}  // namespace

std::span<const TaskEntry> tasks() { return kTasks; }

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const TaskEntry& entry : kTasks) names.emplace_back(entry.name);
  return names;
}

const TaskEntry* find_task(std::string_view name) {
  for (const TaskEntry& entry : kTasks) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

Result<std::unique_ptr<Task>> make_task(std::string_view name, const nlohmann::json& settings) {
  const TaskEntry* const entry = find_task(name);
  if (entry == nullptr) {
    return usage_error("task \"{}\": expected one of {} (nearest: {})", name,
                       fmt::join(task_names(), ", "),
                       nearest_name(std::string(name), task_names()));
  }
  return entry->make(settings);
}

}  // namespace unmask
