#include "unmask/experiment/record.h"

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;

std::string path_of(const std::string& directory) { return directory + "/stage.json"; }

}  // namespace

Status write_stage_record(const std::string& directory, const StageRecord& record) {
  json document = {{"description", record.description}, {"core_seconds", record.core_seconds}};
  visit_measured(record.measured,
                 [&](const char* key, const json& member) { document[key] = member; });
  return write_file_atomically(path_of(directory), to_text(document, 1) + "\n");
}

bool has_stage_record(const std::string& directory) { return path_exists(path_of(directory)); }

Result<std::optional<StageRecord>> read_stage_record(const std::string& directory) {
  if (!has_stage_record(directory)) return std::optional<StageRecord>();
  const std::string path = path_of(directory);
  UNMASK_TRY(const json document, read_json_file(path));
  StageRecord record;
  bool whole = document.is_object() && document.contains("description") &&
               document.contains("core_seconds") && document["core_seconds"].is_number();
  visit_measured(record.measured, [&](const char* key, json& member) {
    whole = whole && document.contains(key) && document[key].is_object();
    if (whole) member = document[key];
  });
  if (!whole) {
    return failure("{}: expected the record of a stage; remove {} to do it again", path, directory);
  }
  record.description = document["description"];
  record.core_seconds = document["core_seconds"];
  return std::optional(std::move(record));
}

}  // namespace unmask
