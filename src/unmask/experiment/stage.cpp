#include "unmask/experiment/stage.h"

#include <algorithm>

#include "unmask/base/check.h"

namespace unmask {
namespace {

struct StageEntry {
  std::string kind;
  MakeStage* make;
  std::vector<std::string> keys;
};

// A line of docs/experiments.md for each.
const std::vector<StageEntry>& entries() {
  static const std::vector<StageEntry> kEntries = {
      {"train", make_train_stage, {"set", "data"}},
      {"distill", make_distill_stage, {"set", "data"}},
      {"retrofit", make_retrofit_stage, {}},
      {"loss", make_loss_stage, {"set", "data", "draws", "routing"}},
      {"leave-out", make_leave_out_stage, {"set", "data", "edges"}},
      {"task",
       make_task_stage,
       {"set", "count", "seed", "routing", "sweep", "checkpoints", "batch", "sampler",
        "threshold"}},
  };
  return kEntries;
}

const StageEntry& entry_of(const std::string& kind) {
  const auto found = std::ranges::find(entries(), kind, &StageEntry::kind);
  UNMASK_CHECK(found != entries().end());
  return *found;
}

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageSpec& spec, const StagePlace& place) {
  return entry_of(spec.kind).make(spec, place);
}

const std::vector<std::string>& stage_kinds() {
  static const std::vector<std::string> kKinds = [] {
    std::vector<std::string> kinds;
    for (const StageEntry& entry : entries()) kinds.push_back(entry.kind);
    return kinds;
  }();
  return kKinds;
}

const std::vector<std::string>& stage_keys(const std::string& kind) { return entry_of(kind).keys; }

}  // namespace unmask
