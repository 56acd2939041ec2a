#include "unmask/train/run_record.h"

#include <algorithm>
#include <string_view>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/staged_directory.h"

namespace unmask {
namespace {

// What a run may change when it is resumed; all else decides what is computed.
constexpr std::string_view kMayChange[] = {"/evaluation", "/checkpoint", "/training/log_every",
                                           "/name"};

std::string record_path(const std::string& run_directory) { return run_directory + "/config.json"; }

// "training.steps" of "/training/steps".
std::string dotted(std::string path) {
  std::ranges::replace(path, '/', '.');
  return path.empty() ? "the configuration" : path.substr(1);
}

std::string value_at(const nlohmann::json& document, const std::string& path) {
  const nlohmann::json::json_pointer pointer(path);
  return document.contains(pointer) ? to_text(document.at(pointer)) : "not given";
}

Status check_same_run(const nlohmann::json& before, const nlohmann::json& now,
                      const std::string& record) {
  for (const auto& change : nlohmann::json::diff(before, now)) {
    std::string path = change.at("path");
    if (path.ends_with("/-")) path.resize(path.size() - 2);  // what is added to a list
    bool allowed = false;
    for (const std::string_view prefix : kMayChange) allowed |= path.starts_with(prefix);
    if (!allowed) {
      return usage_error(
          "{}: the run was started with {} = {}, now it is {}; resume with the same configuration, "
          "or start a new run with --run (training.from takes the model along)",
          record, dotted(path), value_at(before, path), value_at(now, path));
    }
  }
  return {};
}

}  // namespace

Status check_record(const std::string& run_directory, const nlohmann::json& document, bool resume) {
  const std::string record = record_path(run_directory);
  const bool found = path_exists(record);
  if (resume && !found) {
    return usage_error(
        "{}: expected a run to resume, with its config.json and checkpoints, found none; start the "
        "run without --resume",
        run_directory);
  }
  if (!resume && found) {
    return usage_error(
        "{}: a run is already there; go on with --resume, or choose another "
        "directory with --run",
        run_directory);
  }
  if (!resume) return {};
  UNMASK_TRY(const nlohmann::json before, read_json_file(record));
  return check_same_run(before, document, record);
}

Result<DirectoryLock> lock_run(const std::string& run_directory) {
  UNMASK_TRY_STATUS(make_parent(record_path(run_directory)));
  return DirectoryLock::take(run_directory);
}

Status write_record(const std::string& run_directory, const nlohmann::json& document) {
  return write_file_atomically(record_path(run_directory), to_text(document, 2) + "\n");
}

}  // namespace unmask
