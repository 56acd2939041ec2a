#pragma once

#include <memory>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/evaluate/tasks/task.h"

namespace unmask::cli {

// The task by its name, as hard as "key=value" settings say (docs/tasks.md).
Result<std::unique_ptr<Task>> make_task(const std::string& name,
                                        const std::vector<std::string>& settings);

}  // namespace unmask::cli
