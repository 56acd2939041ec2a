#include "unmask/evaluate/tasks/registry.h"

#include <fmt/ranges.h>

#include "unmask/base/document.h"

namespace unmask {
namespace {

constexpr TaskEntry kTasks[] = {
    {"addition", "347+582=", make_addition},
    {"arithmetic", "((3+4)*2)-5=, with every step", make_arithmetic},
    {"word-problems", "short stories with a count, with steps, in the form of GSM8K",
     make_word_problems},
    {"sorting", "numbers in ascending order", make_sorting},
    {"sudoku", "4x4 or 6x6 with one solution", make_sudoku},
    {"infill", "words removed from sentences", make_infill},
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
