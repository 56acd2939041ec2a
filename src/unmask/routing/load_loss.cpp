#include <algorithm>

#include "unmask/kernels/softmax.h"
#include "unmask/routing/balance.h"

namespace unmask {
namespace {

// The sequence that holds a row.
int64_t sequence_of(const RouteContext& context, int64_t row) {
  const auto& begin = context.sequence_begin;
  return std::upper_bound(begin.begin(), begin.end(), row) - begin.begin() - 1;
}

class LoadLoss : public BalanceTerm {
 public:
  LoadLoss(float coefficient, int32_t experts_per_token, LoadGroups groups)
      : coefficient_(coefficient), experts_per_token_(experts_per_token), groups_(groups) {}

  // share_[g][e] = coefficient / groups * E / (k n_g^2) * count_ge: by it the loss is
  // sum over tokens n of sum_e p_ne share_[g(n)][e].
  void prepare(const RouteContext& context, const Decision& decision,
               const Assignment& assignment) override {
    const int64_t groups = groups_ == LoadGroups::batch ? 1 : context.sequences();
    const int64_t experts = assignment.experts;
    group_.assign(static_cast<size_t>(assignment.tokens), 0);
    tokens_.assign(static_cast<size_t>(groups), 0.0);
    share_.assign(static_cast<size_t>(groups * experts), 0.0f);
    for (int64_t t = 0; t < assignment.tokens; ++t) {
      if (groups > 1) group_[t] = static_cast<int32_t>(sequence_of(context, t));
      if (!context.is_padding(t)) tokens_[group_[t]] += 1;
      for (const int32_t e : decision.dropped_of(t)) share_[group_[t] * experts + e] += 1;
    }
    for (int32_t e = 0; e < assignment.experts; ++e) {
      for (const int32_t t : assignment.tokens_of(e)) share_[group_[t] * experts + e] += 1;
    }
    const auto filled =
        std::count_if(tokens_.begin(), tokens_.end(), [](double n) { return n > 0; });
    for (int64_t g = 0; g < groups; ++g) {
      if (tokens_[g] == 0) continue;
      const double factor = coefficient_ / static_cast<double>(filled) *
                            static_cast<double>(experts) /
                            (experts_per_token_ * tokens_[g] * tokens_[g]);
      for (int64_t e = 0; e < experts; ++e) {
        float& share = share_[g * experts + e];
        share = static_cast<float>(share * factor);
      }
    }
  }

  // d_j += scale p_j (share_j - sum_e p_e share_e)
  double token(int64_t t, std::span<const float> p, float, float scale,
               std::span<float> d_logits) const override {
    const auto share = std::span(share_).subspan(group_[t] * std::ssize(p), p.size());
    const float loss = dot_row(p, share);
    for (size_t e = 0; e < d_logits.size(); ++e) d_logits[e] += scale * p[e] * (share[e] - loss);
    return static_cast<double>(loss);
  }

 private:
  float coefficient_;
  int32_t experts_per_token_;
  LoadGroups groups_;
  std::vector<int32_t> group_;  // [tokens]
  std::vector<double> tokens_;  // [groups], without padding
  std::vector<float> share_;    // [groups, experts]
};

}  // namespace

std::unique_ptr<BalanceTerm> make_load_loss(float coefficient, int32_t experts_per_token,
                                            LoadGroups groups) {
  return std::make_unique<LoadLoss>(coefficient, experts_per_token, groups);
}

}  // namespace unmask
