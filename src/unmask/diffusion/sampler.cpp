#include "unmask/diffusion/sampler.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/ranges.h>

#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

using Options = SamplerOptions;

constexpr float kUnbounded = std::numeric_limits<float>::max();

constexpr std::array kParameters = {
    SamplerParameter{"threshold", &Options::threshold, "commit all that are surer", 0, 1, true},
    SamplerParameter{"low-threshold", &Options::low_threshold,
                     "commit the surest of each masked run that is surer", 0, 1, true},
    SamplerParameter{"factor", &Options::factor, "f of 1 - f / (n + 1)", 0, kUnbounded, false},
    SamplerParameter{"credit-weight", &Options::credit_weight, "alpha of z + alpha log(1 + C)", 0,
                     kUnbounded, false},
    SamplerParameter{"credit-decay", &Options::credit_decay, "beta of C <- beta C", 0, 1, false},
    SamplerParameter{"credit-power", &Options::credit_power, "gamma of C += c^gamma", 0, kUnbounded,
                     false},
    SamplerParameter{"entropy-bound", &Options::entropy_bound,
                     "nats that the committed positions may sum to", 0, kUnbounded, false},
    SamplerParameter{"edit-threshold", &Options::edit_threshold,
                     "replace a token if another is surer", 0, 1, false},
};

struct Default {
  std::optional<float> Options::*value;
  float number;
};

struct Entry {
  std::string_view name;
  std::array<Default, 4> defaults;  // null members behind the last
  std::unique_ptr<Sampler> (*make)(const Options&);

  const Default* find(std::optional<float> Options::*value) const {
    const auto found = std::ranges::find(defaults, value, &Default::value);
    return found == defaults.end() ? nullptr : &*found;
  }
};

// Every sampler: name, parameters with defaults, how it is made.
constexpr std::array kEntries = {
    Entry{"quota", {}, [](const Options&) { return make_quota_sampler(); }},
    Entry{"threshold",
          {{{&Options::threshold, 0.95f}}},
          [](const Options& o) { return make_threshold_sampler(*o.threshold); }},
    Entry{"threshold-max",
          {{{&Options::threshold, 0.9f}}},
          [](const Options& o) { return make_threshold_max_sampler(*o.threshold); }},
    Entry{"factor",
          {{{&Options::factor, 1.0f}}},
          [](const Options& o) { return make_factor_sampler(*o.factor); }},
    Entry{
        "hierarchical",
        {{{&Options::threshold, 0.9f}, {&Options::low_threshold, 0.4f}}},
        [](const Options& o) { return make_hierarchical_sampler(*o.threshold, *o.low_threshold); }},
    Entry{"credit",
          {{{&Options::threshold, 0.95f},
            {&Options::credit_weight, 0.7f},
            {&Options::credit_decay, 0.8f},
            {&Options::credit_power, 0.2f}}},
          [](const Options& o) {
            return make_credit_sampler(*o.threshold, *o.credit_weight, *o.credit_decay,
                                       *o.credit_power);
          }},
    Entry{"entropy-bounded",
          {{{&Options::entropy_bound, 0.35f}}},
          [](const Options& o) { return make_entropy_bounded_sampler(*o.entropy_bound); }},
    Entry{"random", {}, [](const Options&) { return make_random_sampler(); }},
    Entry{"sequential", {}, [](const Options&) { return make_sequential_sampler(); }},
    Entry{"low-entropy", {}, [](const Options&) { return make_low_entropy_sampler(); }},
    Entry{"margin", {}, [](const Options&) { return make_margin_sampler(); }},
    Entry{"editing",
          {{{&Options::threshold, 0.95f}, {&Options::edit_threshold, 0.9f}}},
          [](const Options& o) { return make_editing_sampler(*o.threshold, *o.edit_threshold); }},
    Entry{
        "levenshtein",
        {{{&Options::threshold, 0.5f}, {&Options::edit_threshold, 0.0f}}},
        [](const Options& o) { return make_levenshtein_sampler(*o.threshold, *o.edit_threshold); }},
};

constexpr auto kNames = [] {
  std::array<std::string_view, kEntries.size()> names;
  std::ranges::transform(kEntries, names.begin(), &Entry::name);
  return names;
}();

Status check_range(const SamplerParameter& parameter, float value) {
  const bool low = parameter.above_least ? value > parameter.least : value >= parameter.least;
  if (low && value <= parameter.most) return {};
  const char* const least = parameter.above_least ? "above" : "at least";
  if (parameter.most == kUnbounded) {
    return usage_error("{} {}: expected {} {}", parameter.name, value, least, parameter.least);
  }
  return usage_error("{} {}: expected {} {} and at most {}", parameter.name, value, least,
                     parameter.least, parameter.most);
}

}  // namespace

std::span<const std::string_view> sampler_names() { return kNames; }
std::span<const SamplerParameter> sampler_parameters() { return kParameters; }

std::string samplers_with(const SamplerParameter& parameter) {
  std::vector<std::string> found;
  for (const Entry& entry : kEntries) {
    if (const Default* const d = entry.find(parameter.value)) {
      found.push_back(fmt::format("{} {}", entry.name, d->number));
    }
  }
  return fmt::format("{}", fmt::join(found, ", "));
}

Result<std::unique_ptr<Sampler>> make_sampler(const SamplerOptions& options) {
  const auto entry = std::ranges::find(kEntries, options.policy, &Entry::name);
  if (entry == kEntries.end()) {
    return usage_error("unknown sampler \"{}\": expected one of {}", options.policy,
                       fmt::join(kNames, ", "));
  }
  SamplerOptions complete = options;
  for (const SamplerParameter& parameter : kParameters) {
    std::optional<float>& value = complete.*parameter.value;
    const Default* const fallback = entry->find(parameter.value);
    if (value && !fallback) {
      return usage_error(
          "{} {}: the sampler {} has no such parameter; these have, with their defaults: {}",
          parameter.name, *value, entry->name, samplers_with(parameter));
    }
    if (!fallback) continue;
    value = value.value_or(fallback->number);
    UNMASK_TRY_STATUS(check_range(parameter, *value));
  }
  return entry->make(complete);
}

int32_t quota_at(int32_t m, int32_t steps, int32_t s) {
  UNMASK_CHECK(steps > 0 && s >= 0);
  return std::max(1, m / steps + (s < m % steps ? 1 : 0));
}

}  // namespace unmask
