#include "unmask/routing/policy_json.h"

#include <fmt/format.h>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/routing/budget.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

using Weights = RoutingPolicy::Weights;
using Capacity = RoutingPolicy::Capacity;
using Schedule = Capacity::Schedule;
using Group = RoutingPolicy::Group;
using Keep = RoutingPolicy::Drop::Keep;

constexpr std::string_view kMonteCarlo = "monte-carlo";

// Each list of names once, for both directions.
const std::initializer_list<std::pair<std::string_view, Weights>> kWeights = {
    {"softmax", Weights::softmax},
    {"softmax-before", Weights::softmax_before},
    {"sigmoid", Weights::sigmoid},
};
const std::initializer_list<std::pair<std::string_view, Schedule>> kSchedules = {
    {"static", Schedule::constant},
    {"linear", Schedule::linear},
    {"linear-reverse", Schedule::linear_reverse},
    {"cosine", Schedule::cosine},
    {"cosine-reverse", Schedule::cosine_reverse},
    {"bell", Schedule::bell},
    {"gaussian", Schedule::gaussian},
    {"gaussian-reverse", Schedule::gaussian_reverse},
    {"table", Schedule::table},
};
const std::initializer_list<std::pair<std::string_view, Group>> kGroups = {
    {"sequence", Group::sequence},
    {"batch", Group::batch},
    {"block", Group::block},
};
const std::initializer_list<std::pair<std::string_view, Keep>> kKeeps = {
    {"probs", Keep::probs},
    {"position", Keep::position},
};

template <class E>
std::string name_in(std::initializer_list<std::pair<std::string_view, E>> names, E value) {
  for (const auto& [name, meaning] : names) {
    if (meaning == value) return std::string(name);
  }
  check_failed("an enumerator has no name", __FILE__, __LINE__);
}

nlohmann::json to_json(const RoutingPolicy::Block& block) {
  nlohmann::json table = {
      {"size", block.size}, {"p", block.p},       {"coreset_min", block.coreset_min},
      {"pool", block.pool}, {"beta", block.beta}, {"k_vote", block.k_vote}};
  if (block.p_min) table["p_min"] = *block.p_min;
  if (block.p_max) table["p_max"] = *block.p_max;
  return table;
}

void read_scale(Fields& fields, RoutingPolicy& policy) {
  const nlohmann::json* scale = fields.find("scale");
  if (scale == nullptr) return;
  policy.monte_carlo = scale->is_string() && scale->get<std::string>() == kMonteCarlo;
  if (policy.monte_carlo) return;
  if (!scale->is_number()) return fields.refuse("scale", "a number or \"monte-carlo\"");
  fields.read("scale", policy.scale);
}

// [[mask ratio, k], …]
void read_points(Fields& fields, std::vector<Capacity::Point>& points) {
  std::vector<std::vector<double>> pairs;
  if (!fields.read("points", pairs)) return;
  for (const std::vector<double>& pair : pairs) {
    if (pair.size() != 2) return fields.refuse("points", "an array of pairs [mask ratio, k]");
    points.push_back({.mask_ratio = pair[0], .k = pair[1]});
  }
  if (!fields.has("schedule")) fields.refuse("points", "schedule = \"table\" beside the points");
}

void read_distribution(Fields& fields, Capacity::Interval& interval) {
  std::vector<double> ends;
  if (!fields.read("distribution", ends)) return;
  if (ends.size() != 2) return fields.refuse("distribution", "an interval [low, high]");
  interval = {.low = ends[0], .high = ends[1]};
}

void read_capacity(Fields& fields, Capacity& capacity) {
  fields.read_enum("schedule", capacity.schedule, kSchedules);
  fields.read_between("min", capacity.min, 1);
  fields.read_between("max", capacity.max, 1);
  fields.read("sigma", capacity.sigma);
  read_points(fields, capacity.points);
  fields.read("mean", capacity.mean);
  read_distribution(fields, capacity.distribution);
}

void read_block(Fields& fields, RoutingPolicy::Block& block) {
  fields.read_between("size", block.size, 1);
  fields.read_between("p", block.p, 0.0, 1.0);
  for (auto [key, value] : {std::pair{"p_min", &block.p_min}, {"p_max", &block.p_max}}) {
    if (double p = 0; fields.read_between(key, p, 0.0, 1.0)) *value = p;
  }
  fields.read_between("coreset_min", block.coreset_min, 1);
  fields.read_between("pool", block.pool, 1);
  fields.read_between("beta", block.beta, 0.0, 1.0);
  fields.read_between("k_vote", block.k_vote, 1);
}

void read_policy(Fields& fields, RoutingPolicy& policy) {
  std::string name(name_of(policy.policy));
  if (fields.read("policy", name)) {
    if (const PolicyEntry* entry = find_policy(name)) {
      policy.policy = entry->policy;
    } else {
      fields.refuse("policy",
                    fmt::format("one of {} (nearest: \"{}\")", fmt::join(policy_names(), ", "),
                                nearest_name(name, policy_names())));
    }
  }
  fields.read_between("experts_per_token", policy.experts_per_token, 1);
  fields.read_enum("weights", policy.weights, kWeights);
  fields.read("renormalize", policy.renormalize);
  read_scale(fields, policy);
  fields.read_enum("selection", policy.selection, kGroups);
  fields.table("capacity",
               [&](Fields& table) { read_capacity(table, *(policy.capacity = Capacity{})); });
  fields.table("groups", [&](Fields& table) {
    auto& groups = *(policy.groups = RoutingPolicy::Groups{});
    table.read_between("count", groups.count, 1);
    table.read_between("keep", groups.keep, 1);
  });
  fields.table("drop", [&](Fields& table) {
    auto& drop = *(policy.drop = RoutingPolicy::Drop{});
    table.require("capacity_factor", drop.capacity_factor);
    table.read_enum("policy", drop.policy, kKeeps);
  });
  fields.table("block", [&](Fields& table) { read_block(table, policy.block); });
  fields.table("balance", [&](Fields& table) {
    table.read_between("switch", policy.balance.switch_loss, 0.0f);
    table.read_between("sequence", policy.balance.sequence_loss, 0.0f);
    table.read_between("z", policy.balance.z_loss, 0.0f);
    table.read_between("bias_rate", policy.balance.bias_rate, 0.0f);
    table.read("reference", policy.balance.reference);
  });
}

// What differs from the defaults; `scale` follows from `mean`.
nlohmann::json to_json(const Capacity& capacity) {
  nlohmann::json table = {{"schedule", name_in(kSchedules, capacity.schedule)}};
  if (capacity.min > 0) table["min"] = capacity.min;
  if (capacity.max > 0) table["max"] = capacity.max;
  if (capacity.sigma != Capacity().sigma) table["sigma"] = capacity.sigma;
  for (const auto& [r, k] : capacity.points) table["points"].push_back({r, k});
  if (capacity.mean) table["mean"] = *capacity.mean;
  const auto& [low, high] = capacity.distribution;
  if (capacity.distribution != Capacity::Interval()) table["distribution"] = {low, high};
  return table;
}

}  // namespace

Result<RoutingPolicy> policy_from_json(const nlohmann::json& table, const std::string& where,
                                       const std::string& file) {
  RoutingPolicy policy;
  Fields fields(table, where, file);
  read_policy(fields, policy);
  UNMASK_TRY_STATUS(fields.finish());
  if (policy.capacity) UNMASK_TRY_STATUS(meet_budget(*policy.capacity));
  return policy;
}

nlohmann::json to_json(const RoutingPolicy& policy) {
  nlohmann::json table = {
      {"policy", name_of(policy.policy)},
      {"experts_per_token", policy.experts_per_token},
      {"weights", name_in(kWeights, policy.weights)},
      {"renormalize", policy.renormalize},
      {"balance",
       {{"switch", as_written(policy.balance.switch_loss)},
        {"sequence", as_written(policy.balance.sequence_loss)},
        {"z", as_written(policy.balance.z_loss)},
        {"bias_rate", as_written(policy.balance.bias_rate)},
        {"reference", policy.balance.reference}}},
  };
  if (policy.monte_carlo) {
    table["scale"] = kMonteCarlo;
  } else {
    table["scale"] = as_written(policy.scale);
  }
  if (policy.capacity) table["capacity"] = to_json(*policy.capacity);
  if (policy.groups) {
    table["groups"] = {{"count", policy.groups->count}, {"keep", policy.groups->keep}};
  }
  const bool competes = policy.policy == RoutingPolicy::Selection::expert_choice;
  if (competes || policy.selection != Group::sequence) {
    table["selection"] = name_in(kGroups, policy.selection);
  }
  if (policy.drop) {
    table["drop"] = {{"capacity_factor", policy.drop->capacity_factor},
                     {"policy", name_in(kKeeps, policy.drop->policy)}};
  }
  if (policy.block != RoutingPolicy::Block{}) table["block"] = to_json(policy.block);
  return table;
}

void change_policy(nlohmann::json& table, const PolicyEntry& entry) {
  using Selection = RoutingPolicy::Selection;
  table["policy"] = entry.name;
  if (entry.policy == Selection::coreset_expert_choice) {
    // The tokens of a block compete, never those of a batch.
    if (table.value("selection", "") == "batch") table.erase("selection");
  } else if (table.contains("block")) {
    table["block"].erase("p_min");
    table["block"].erase("p_max");
  }
  if (entry.chooser == Chooser::expert) {
    table.erase("groups");
    table.erase("drop");
    // What a token makes of its experts' scores before it chooses has no counterpart.
    if (table.value("weights", "") == "softmax-before") table["weights"] = "softmax";
  } else {
    table.erase("selection");
    table.erase("capacity");
  }
}

}  // namespace unmask
