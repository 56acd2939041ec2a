#include "unmask/cli/routing_flags.h"

#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/cli/policy_file.h"
#include "unmask/routing/policy_json.h"
#include "unmask/routing/registry.h"

namespace unmask::cli {
namespace {

using nlohmann::json;
using Selection = RoutingPolicy::Selection;

Result<json> policy_table(const std::string& routing, json table) {
  if (const PolicyEntry* entry = find_policy(routing)) {
    change_policy(table, *entry);
    return table;
  }
  if (!routing.ends_with(".toml")) {
    return usage_error("--routing {}: expected a TOML file or one of {} (nearest: {})", routing,
                       fmt::join(policy_names(), ", "), nearest_name(routing, policy_names()));
  }
  UNMASK_TRY(const RoutingPolicy policy, read_policy_file(routing));
  return to_json(policy);
}

template <class T>
Status put(const std::optional<T>& value, const char* flag, std::initializer_list<Selection> of,
           Selection policy, json& place) {
  if (!value) return {};
  if (std::ranges::count(of, policy) == 0) {
    std::vector<std::string_view> names;
    for (const Selection s : of) names.push_back(name_of(s));
    return usage_error("{} {}: the policy {} has no such key, expected --routing {}", flag, *value,
                       name_of(policy), fmt::join(names, " or "));
  }
  place = *value;
  return {};
}

}  // namespace

void RoutingFlags::add_to(CLI::App& command) {
  CLI::Option_group* const group =
      command.add_option_group("routing", "Another routing policy than the checkpoint's");
  group->add_option("--routing", routing,
                    fmt::format("A TOML file, or one of {}", fmt::join(policy_names(), ", ")));
  group->add_option("--experts-per-token", experts_per_token, "k");
  group->add_option("--block-size", block_size,
                    "Positions of a block that votes together, or that statistics count in");
  group->add_option(
      "--p", p, "block-experts, coreset-expert-choice: share of the votes that a coreset exceeds");
  group->add_option("--coreset-min", coreset_min, "Likewise: its fewest experts");
  group->add_option("--pool", pool, "block-routing: experts that a block may use");
  group->add_option("--beta", beta, "des-vote: share of the experts in the coreset");
  group->add_option("--k-vote", k_vote, "des-seq: experts that each token brings in");
}

Status RoutingFlags::apply(ModelConfig& config) const {
  json table = to_json(config.routing);
  // What balances training is of no use here, and may ask for a bias that the model has not.
  table.erase("balance");
  if (routing) {
    UNMASK_TRY(table, policy_table(*routing, std::move(table)));
  }
  UNMASK_TRY(const RoutingPolicy base, policy_from_json(table, "routing"));
  const Selection policy = base.policy;
  if (experts_per_token) {
    table["experts_per_token"] = *experts_per_token;
    table.erase("capacity");  // a schedule in its place
    if (base.block.p_min && !p) {
      return usage_error(
          "--experts-per-token {}: p follows the schedule that this takes the place of; give --p "
          "too",
          *experts_per_token);
    }
  }
  // A null block is none: only a key that is put makes one.
  json block = table.contains("block") ? table["block"] : json::object();
  if (p) {  // in place of one that follows a schedule
    block.erase("p_min");
    block.erase("p_max");
  }
  if (block_size) block["size"] = *block_size;
  UNMASK_TRY_STATUS(put(p, "--p", {Selection::block_experts, Selection::coreset_expert_choice},
                        policy, block["p"]));
  UNMASK_TRY_STATUS(put(coreset_min, "--coreset-min",
                        {Selection::block_experts, Selection::coreset_expert_choice}, policy,
                        block["coreset_min"]));
  UNMASK_TRY_STATUS(put(pool, "--pool", {Selection::block_routing}, policy, block["pool"]));
  UNMASK_TRY_STATUS(put(beta, "--beta", {Selection::des_vote}, policy, block["beta"]));
  UNMASK_TRY_STATUS(put(k_vote, "--k-vote", {Selection::des_seq}, policy, block["k_vote"]));
  for (auto it = block.begin(); it != block.end();) it = it->is_null() ? block.erase(it) : ++it;
  if (!block.empty()) table["block"] = block;
  UNMASK_TRY(config.routing, policy_from_json(table, "routing"));
  return {};
}

}  // namespace unmask::cli
