#include "unmask/checkpoint/retention.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "unmask/base/files.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kPartial = ".partial";

fs::path folder_of(const std::string& run_directory) {
  return fs::path(run_directory) / "checkpoints";
}
fs::path best_link(const std::string& run_directory) { return fs::path(run_directory) / "best"; }

// A copy of a run whose links were followed has a directory there.
bool best_is_directory(const std::string& run_directory) {
  std::error_code code;
  const fs::path best = best_link(run_directory);
  return !fs::is_symlink(best, code) && path_exists(best / "config.json");
}

std::optional<int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

Status remove_tree(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) return failure("{}: cannot remove: {}", path.string(), code.message());
  return {};
}

// Loses its name first, so that a kill in between leaves no checkpoint with half its files.
Status remove_checkpoint(const fs::path& path) {
  const fs::path doomed = path.string() + std::string(kPartial);
  UNMASK_TRY_STATUS(remove_tree(doomed));
  std::error_code code;
  fs::rename(path, doomed, code);
  if (code) return failure("{}: cannot rename: {}", path.string(), code.message());
  return remove_tree(doomed);
}

Status remove_partial(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.find(kPartial) != std::string::npos) {
      found.push_back(entry.path());
    }
  }
  for (const fs::path& path : found) UNMASK_TRY_STATUS(remove_tree(path));
  return {};
}

}  // namespace

std::string checkpoint_path(const std::string& run_directory, int64_t step) {
  return (folder_of(run_directory) / fmt::format("{}{:08}", kPrefix, step)).string();
}

std::vector<CheckpointEntry> list_checkpoints(const std::string& run_directory) {
  std::vector<CheckpointEntry> found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder_of(run_directory), code)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory(code)) found.push_back({*step, entry.path().string()});
  }
  std::ranges::sort(found, {}, &CheckpointEntry::step);
  return found;
}

std::optional<CheckpointEntry> latest_checkpoint(const std::string& run_directory) {
  auto all = list_checkpoints(run_directory);
  if (all.empty()) return std::nullopt;
  return all.back();
}

std::optional<CheckpointEntry> best_checkpoint(const std::string& run_directory) {
  std::error_code code;
  const fs::path target = fs::read_symlink(best_link(run_directory), code);
  if (code) return std::nullopt;
  const auto step = step_of(target.filename().string());
  const fs::path path = fs::path(run_directory) / target;
  if (!step || !fs::is_directory(path, code)) return std::nullopt;
  return CheckpointEntry{*step, path.string()};
}

Status check_best(const std::string& run_directory) {
  if (!best_is_directory(run_directory)) return {};
  return usage_error(
      "{}: expected a symbolic link to the best checkpoint, found a directory, as copying makes "
      "one of a link; remove it, or copy the run with its links, and resume",
      best_link(run_directory).string());
}

Result<std::string> find_checkpoint(const std::string& path) {
  if (best_is_directory(path)) return best_link(path).string();
  if (const auto best = best_checkpoint(path)) return best->path;
  if (const auto latest = latest_checkpoint(path)) return latest->path;
  const auto holds = [&](const char* file) { return path_exists(fs::path(path) / file); };
  if (holds("metrics.jsonl") || holds("targets.jsonl")) {
    return failure("{}: a training run without a checkpoint yet", path);
  }
  if (!holds("config.json")) {
    return failure(
        "{}: expected a checkpoint (a directory with config.json and weights) or a training run, "
        "found neither",
        path);
  }
  return path;
}

Status mark_best_checkpoint(const std::string& run_directory, int64_t step) {
  const fs::path target =
      fs::path(checkpoint_path(run_directory, step)).lexically_relative(run_directory);
  const fs::path link = best_link(run_directory);
  const fs::path staging = link.string() + std::string(kPartial);
  std::error_code code;
  fs::remove(staging, code);
  fs::create_symlink(target, staging, code);
  if (!code) fs::rename(staging, link, code);
  if (code) {
    return failure("{}: cannot point to {}: {}", link.string(), target.string(), code.message());
  }
  return {};
}

Status prune_checkpoints(const std::string& run_directory, int32_t keep) {
  const auto all = list_checkpoints(run_directory);
  const auto best = best_checkpoint(run_directory);
  const auto kept = static_cast<size_t>(std::max(keep, 1));
  for (size_t i = 0; i + kept < all.size(); ++i) {
    if (best && all[i].step == best->step) continue;
    UNMASK_TRY_STATUS(remove_checkpoint(all[i].path));
  }
  return remove_partial(folder_of(run_directory));
}

}  // namespace unmask
