#include "unmask/cli/task_settings.h"

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask::cli {

Result<std::unique_ptr<Task>> make_task(const std::string& name,
                                        const std::vector<std::string>& settings) {
  const TaskEntry* const entry = find_task(name);
  if (entry == nullptr) {
    return usage_error("task \"{}\": expected one of {} (nearest: {})", name,
                       fmt::join(task_names(), ", "), nearest_name(name, task_names()));
  }
  nlohmann::json document = nlohmann::json::object();
  for (const std::string& setting : settings) UNMASK_TRY_STATUS(set_value(document, setting));
  return entry->make(document);
}

}  // namespace unmask::cli
