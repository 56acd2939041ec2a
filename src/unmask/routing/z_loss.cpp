#include "unmask/routing/balance.h"

namespace unmask {
namespace {

class ZLoss : public BalanceTerm {
 public:
  explicit ZLoss(float coefficient) : coefficient_(coefficient) {}

  void prepare(const RouteContext& context, const Decision&,
               const Assignment& assignment) override {
    const int64_t tokens = context.routed_tokens(0, assignment.tokens);
    share_ = tokens == 0 ? 0 : coefficient_ / static_cast<float>(tokens);
  }

  // d logsumexp / d logits = p
  double token(int64_t, std::span<const float> p, float log_sum_exp, float scale,
               std::span<float> d_logits) const override {
    const float slope = scale * share_ * 2 * log_sum_exp;
    for (size_t e = 0; e < d_logits.size(); ++e) d_logits[e] += slope * p[e];
    return static_cast<double>(share_) * log_sum_exp * log_sum_exp;
  }

 private:
  float coefficient_;
  float share_ = 0;  // coefficient / tokens
};

}  // namespace

std::unique_ptr<BalanceTerm> make_z_loss(float coefficient) {
  return std::make_unique<ZLoss>(coefficient);
}

}  // namespace unmask
