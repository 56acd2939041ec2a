#include "unmask/kernels/reference/experts.h"

#include <cmath>
#include <vector>

#include "unmask/kernels/reference/elementwise.h"
#include "unmask/kernels/reference/rounded.h"

namespace unmask::reference {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

void experts_forward(ConstMatrix x, const ExpertWeights& w, const Assignment& a, Matrix y,
                     ExpertsSaved* saved, Precision precision) {
  const int64_t hidden = x.cols, ffn = w.down.cols;
  std::vector<float> h(ffn);
  for (int32_t e = 0; e < a.experts; ++e) {
    for (int32_t slot = a.expert_begin[e]; slot < a.expert_begin[e + 1]; ++slot) {
      const int32_t t = a.token[slot];
      for (int64_t f = 0; f < ffn; ++f) {
        double gate = 0, up = 0;
        for (int64_t i = 0; i < hidden; ++i) {
          const double value = rounded(x(t, i), precision);
          gate += value * rounded(w.gate(e * ffn + f, i), precision);
          up += value * rounded(w.up(e * ffn + f, i), precision);
        }
        if (saved != nullptr) {
          saved->gate(slot, f) = static_cast<float>(gate);
          saved->up(slot, f) = static_cast<float>(up);
        }
        h[f] = static_cast<float>(a.gate[slot] * gate * sigmoid(gate) * up);
      }
      for (int64_t j = 0; j < hidden; ++j) {
        double sum = 0;
        for (int64_t f = 0; f < ffn; ++f) {
          sum += rounded(h[f], precision) * rounded(w.down(e * hidden + j, f), precision);
        }
        y(t, j) += static_cast<float>(sum);
      }
    }
  }
}

void experts_backward(ConstMatrix x, const ExpertWeights& w, const Assignment& a,
                      const ExpertsSaved& saved, ConstMatrix dy, Matrix dx, std::span<float> d_gate,
                      const ExpertGradients& gradients, Precision precision) {
  const int64_t hidden = x.cols, ffn = w.down.cols;
  if (!gradients.add) {
    for (const Matrix m : {gradients.gate, gradients.up, gradients.down}) fill(0.0f, m);
  }
  std::vector<float> dg(ffn), du(ffn), h(ffn);
  for (int32_t e = 0; e < a.experts; ++e) {
    for (int32_t slot = a.expert_begin[e]; slot < a.expert_begin[e + 1]; ++slot) {
      const int32_t t = a.token[slot];
      double d_weight = 0;
      for (int64_t f = 0; f < ffn; ++f) {
        double dh = 0;
        for (int64_t j = 0; j < hidden; ++j) {
          dh += rounded(dy(t, j), precision) * rounded(w.down(e * hidden + j, f), precision);
        }
        const double g = saved.gate(slot, f), u = saved.up(slot, f), s = sigmoid(g);
        d_weight += dh * g * s * u;
        dg[f] = static_cast<float>(a.gate[slot] * dh * u * (s + g * s * (1 - s)));
        du[f] = static_cast<float>(a.gate[slot] * dh * g * s);
        h[f] = static_cast<float>(a.gate[slot] * g * s * u);
      }
      d_gate[slot] = static_cast<float>(d_weight);
      for (int64_t i = 0; i < hidden; ++i) {
        double sum = 0;
        for (int64_t f = 0; f < ffn; ++f) {
          sum += rounded(dg[f], precision) * rounded(w.gate(e * ffn + f, i), precision) +
                 rounded(du[f], precision) * rounded(w.up(e * ffn + f, i), precision);
        }
        dx(t, i) += static_cast<float>(sum);
      }
      for (int64_t f = 0; f < ffn; ++f) {
        for (int64_t i = 0; i < hidden; ++i) {
          const double value = rounded(x(t, i), precision);
          gradients.gate(e * ffn + f, i) += static_cast<float>(rounded(dg[f], precision) * value);
          gradients.up(e * ffn + f, i) += static_cast<float>(rounded(du[f], precision) * value);
          gradients.down(e * hidden + i, f) +=
              static_cast<float>(rounded(dy(t, i), precision) * rounded(h[f], precision));
        }
      }
    }
  }
}

}  // namespace unmask::reference
