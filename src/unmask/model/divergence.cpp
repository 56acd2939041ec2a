#include "unmask/model/divergence.h"

#include "unmask/kernels/finite.h"

namespace unmask {
namespace {

bool finite(ConstMatrix m) { return m.data == nullptr || all_finite(m.flat()); }

// Where layers are run again their middle is not kept.
std::optional<std::string> first_activation(const Tape& tape, bool recompute) {
  for (size_t i = 0; i < tape.layers.size(); ++i) {
    const Tape::Layer& layer = tape.layers[i];
    const bool last = i + 1 == tape.layers.size();
    if (!finite(layer.input)) return "embedding";  // of any later layer: seen as an output before
    const auto name = [&](const char* part) { return fmt::format("layers.{}.{}", i, part); };
    if (!recompute && !finite(layer.middle)) return name("attention");
    if (!finite(layer.routing.logits)) return name("router");
    if (!finite(last ? tape.output : tape.layers[i + 1].input)) {
      return name(layer.routing.logits.empty() ? "dense" : "experts");
    }
  }
  if (!finite(tape.hidden)) return "final_norm";
  return std::nullopt;
}

}  // namespace

std::string NonFinite::text() const {
  const char* kinds[] = {"parameter", "activation after", "gradient of"};
  return fmt::format("{} {}", kinds[static_cast<int>(kind)], name);
}

std::optional<NonFinite> first_non_finite(const Model& model, const Tape& tape,
                                          const Parameters* gradients) {
  const auto& table = model.layout().table;
  for (size_t i = 0; i < table.size(); ++i) {
    if (!finite(model.parameters()[static_cast<int>(i)])) {
      return NonFinite{NonFinite::Kind::parameter, table[i].name};
    }
  }
  if (const auto name = first_activation(tape, model.options().recompute)) {
    return NonFinite{NonFinite::Kind::activation, *name};
  }
  if (gradients == nullptr) return std::nullopt;
  for (size_t i = table.size(); i-- > 0;) {
    if (!finite((*gradients)[static_cast<int>(i)])) {
      return NonFinite{NonFinite::Kind::gradient, table[i].name};
    }
  }
  return std::nullopt;
}

}  // namespace unmask
