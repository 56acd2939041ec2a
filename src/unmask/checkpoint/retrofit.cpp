#include "unmask/checkpoint/retrofit.h"

#include <filesystem>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/staged_directory.h"
#include "unmask/checkpoint/inventory.h"
#include "unmask/checkpoint/model_config_json.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "config.json";

// Weights are never written in place, so a link shares them safely; what people edit is copied.
Status link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code code;
  const fs::path file = fs::canonical(from, code);  // a link to a relative link would point nowhere
  if (!code) {
    const bool weights = to.extension() == ".safetensors";
    if (weights) fs::create_hard_link(file, to, code);
    if (!weights || code) fs::copy_file(file, to, code);
  }
  if (code)
    return failure("{}: cannot link or copy to {}: {}", from.string(), to.string(), code.message());
  return {};
}

Status carry_files(const fs::path& from, const fs::path& to) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(from, code)) {
    std::error_code none;
    if (!entry.is_regular_file(none) || entry.path().filename() == kConfig) continue;
    UNMASK_TRY_STATUS(link_or_copy(entry.path(), to / entry.path().filename()));
  }
  if (code) return failure("{}: cannot list: {}", from.string(), code.message());
  return {};
}

}  // namespace

Status retrofit(const std::string& from, const std::string& out, const RoutingPolicy& policy) {
  if (path_exists(out)) {
    return usage_error("{}: expected a new directory, found that it exists; choose another name",
                       out);
  }
  UNMASK_TRY(const Inventory inventory, take_inventory(from));  // also checks that weights fit
  ModelConfig config = inventory.config;
  config.routing = policy;
  UNMASK_TRY_STATUS(validate(config));

  const std::string path = (fs::path(from) / kConfig).string();
  UNMASK_TRY(nlohmann::json document, read_json_file(path));
  document["unmask"] = model_config_to_json(config)["unmask"];
  UNMASK_TRY(ModelConfig written, model_config_from_json(document, path));
  written.other_end_tokens = config.other_end_tokens;  // also those of generation_config.json
  UNMASK_CHECK(written == config);

  UNMASK_TRY(auto staged, StagedDirectory::create(out));
  UNMASK_TRY_STATUS(carry_files(from, staged.path()));
  UNMASK_TRY_STATUS(write_file_atomically((fs::path(staged.path()) / kConfig).string(),
                                          to_text(document, 2) + "\n"));
  return staged.commit();
}

}  // namespace unmask
