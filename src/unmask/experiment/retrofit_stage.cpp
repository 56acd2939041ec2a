#include <filesystem>
#include <utility>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/retrofit.h"
#include "unmask/experiment/changed_routing.h"
#include "unmask/experiment/stage.h"
#include "unmask/routing/policy_json.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The model before, with the routing policy `what`.
class RetrofitStage final : public Stage {
 public:
  RetrofitStage(std::string from, std::string out, RoutingPolicy policy)
      : from_(std::move(from)), out_(std::move(out)), policy_(std::move(policy)) {}

  json description() const override { return {{"from", from_}, {"routing", to_json(policy_)}}; }

  Result<std::optional<Measured>> run(const std::atomic<bool>& /*stop*/) override {
    std::error_code code;
    fs::remove_all(out_, code);  // of a run that was killed before it could say that it is done
    UNMASK_TRY_STATUS(retrofit(from_, out_, policy_));
    return std::optional<Measured>(std::in_place);
  }

  std::string model() const override { return out_; }

 private:
  std::string from_, out_;
  RoutingPolicy policy_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_retrofit_stage(const StageSpec& spec, const StagePlace& place) {
  UNMASK_TRY(ModelConfig config, load_model_config(place.model));
  UNMASK_TRY_STATUS(change_routing(spec.keys.at("what"), place.experiment.directory, config));
  return std::unique_ptr<Stage>(std::make_unique<RetrofitStage>(
      place.model, place.directory + "/model", std::move(config.routing)));
}

}  // namespace unmask
