#include "unmask/diffusion/generation_report.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

namespace unmask {
namespace {

struct Totals {
  int64_t denoise = 0, prefill = 0, commit = 0, committed = 0, edited = 0;
  // [routed layers], mean over the forwards of a request, then over requests:
  // long answers count no more than short ones.
  std::vector<double> unique_experts;

  Totals(std::span<const Generation> generations, const ModelConfig& config) {
    for (const Generation& g : generations) {
      denoise += g.forwards;
      prefill += g.prefill_forwards;
      commit += g.commit_forwards;
      committed += g.committed;
      edited += g.edited;
    }
    for (int32_t l = config.dense_layers; l < config.layers; ++l) {
      double sum = 0;
      int64_t requests = 0;
      for (const Generation& g : generations) {
        if (g.forwards == 0) continue;
        sum += g.unique_experts[l];
        ++requests;
      }
      unique_experts.push_back(sum / static_cast<double>(std::max<int64_t>(requests, 1)));
    }
  }
  double tokens_per_forward() const {
    return denoise ? static_cast<double>(committed) / static_cast<double>(denoise) : 0.0;
  }
  double mean_unique_experts() const {
    if (unique_experts.empty()) return 0.0;
    return std::accumulate(unique_experts.begin(), unique_experts.end(), 0.0) /
           static_cast<double>(unique_experts.size());
  }
};

int64_t bytes_per_step(const GenerateReport& report) {
  return report.denoise_forwards ? report.denoise_expert_bytes / report.denoise_forwards : 0;
}

// All that is no part of the model: choosing what comes next, callbacks.
double other_seconds(const GenerateReport& r) {
  return r.seconds - r.profile.total + r.profile.other() - r.sampling_seconds;
}

std::string mebibytes(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

nlohmann::json report_json(const GenerateReport& report, std::span<const Generation> generations,
                           const ModelConfig& config) {
  const Totals totals(generations, config);
  const Profile& p = report.profile;
  nlohmann::json out = {{"forwards",
                         {{"denoise", totals.denoise},
                          {"prefill", totals.prefill},
                          {"commit", totals.commit},
                          {"passes", report.forwards}}},
                        {"tokens_per_forward", totals.tokens_per_forward()},
                        {"committed", totals.committed},
                        {"edited", totals.edited},
                        {"unique_experts", totals.mean_unique_experts()},
                        {"unique_experts_per_layer", totals.unique_experts},
                        {"expert_bytes", report.expert_bytes},
                        {"expert_bytes_per_step", bytes_per_step(report)},
                        {"cache_bytes", report.cache_bytes},
                        {"peak_memory", report.peak_memory},
                        {"seconds",
                         {{"total", report.seconds},
                          {"attention", p.attention},
                          {"router", p.router},
                          {"experts", p.experts},
                          {"shared", p.shared},
                          {"head", p.head},
                          {"sampling", report.sampling_seconds},
                          {"other", other_seconds(report)}}}};
  if (report.experts) out["expert_cache"] = expert_cache_json(*report.experts);
  return out;
}

nlohmann::json expert_cache_json(const ExpertCache::Counts& counts) {
  return {{"used", counts.used},           {"found", counts.found},
          {"hit_rate", counts.hit_rate()}, {"read_ahead", counts.read_ahead},
          {"read", counts.read},           {"waited", counts.waited}};
}

std::string expert_cache_text(const ExpertCache::Counts& counts) {
  return fmt::format(
      "experts in memory: {:.1f} % of {} found, {} read ({} of them ahead), {:.3f} s waited\n",
      100 * counts.hit_rate(), counts.used, counts.read, counts.read_ahead, counts.waited);
}

std::string report_text(const GenerateReport& report, std::span<const Generation> generations,
                        const ModelConfig& config) {
  const Totals totals(generations, config);
  const Profile& p = report.profile;
  std::string text = fmt::format(
      "forwards: {} denoise, {} prefill, {} commit; {:.2f} tokens per denoising forward\n",
      totals.denoise, totals.prefill, totals.commit, totals.tokens_per_forward());
  if (totals.edited > 0) text += fmt::format("edited: {} tokens\n", totals.edited);
  if (!totals.unique_experts.empty()) {
    text += fmt::format(
        "unique experts: {:.2f} of {} per layer and denoising forward; by layer {:.1f}\n",
        totals.mean_unique_experts(), config.experts, fmt::join(totals.unique_experts, " "));
    text += fmt::format("expert weights read: {} in a denoising pass, {} in all\n",
                        mebibytes(bytes_per_step(report)), mebibytes(report.expert_bytes));
  }
  text += fmt::format(
      "seconds: {:.3f} = attention {:.3f} + router {:.3f} + experts {:.3f} + shared {:.3f} + head "
      "{:.3f} + sampling {:.3f} + other {:.3f}\n",
      report.seconds, p.attention, p.router, p.experts, p.shared, p.head, report.sampling_seconds,
      other_seconds(report));
  if (report.experts) text += expert_cache_text(*report.experts);
  text += fmt::format("memory: peak {}, keys and values {}\n", mebibytes(report.peak_memory),
                      mebibytes(report.cache_bytes));
  return text;
}

}  // namespace unmask
