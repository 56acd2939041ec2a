#include "unmask/cli/task_settings.h"

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask::cli {

Result<std::unique_ptr<Task>> make_task(const std::string& name,
                                        const std::vector<std::string>& settings) {
  nlohmann::json document = nlohmann::json::object();
  for (const std::string& setting : settings) UNMASK_TRY_STATUS(set_value(document, setting));
  return unmask::make_task(name, document);
}

}  // namespace unmask::cli
