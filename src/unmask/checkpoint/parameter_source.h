#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"

namespace unmask {

// Where the parameters of a model come from, piece by piece: a checkpoint, memory, or a random
// initialisation. What writes a model needs no more memory than its pieces.
class ParameterSource {
 public:
  explicit ParameterSource(const ModelConfig& config) : config_(config), layout_(config) {}
  virtual ~ParameterSource() = default;
  ParameterSource(ParameterSource&&) = default;
  ParameterSource& operator=(ParameterSource&&) = default;

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return layout_; }
  const ParameterInfo& info(int parameter) const {
    return layout_.table[static_cast<size_t>(parameter)];
  }

  // Elements [first, first + out.size()) of a parameter of the layout's table, on any thread.
  virtual void read(int parameter, int64_t first, std::span<float> out) const = 0;

  // The same, or an error that names the first of them that is not a finite number.
  Status read_finite(int parameter, int64_t first, std::span<float> out) const;

  // An error where what was read may be a mixture, because its files were written to meanwhile.
  virtual Status unchanged() const { return {}; }

  // The place that an element comes from, to begin a message with.
  virtual std::string where(int parameter, int64_t element) const = 0;

 private:
  ModelConfig config_;
  ParameterLayout layout_;
};

// Parameters in memory, borrowed.
class HeldParameters final : public ParameterSource {
 public:
  HeldParameters(const ModelConfig& config, const Parameters& parameters);
  void read(int parameter, int64_t first, std::span<float> out) const override;
  std::string where(int parameter, int64_t element) const override;

 private:
  const Parameters* parameters_;
};

// A new model: the numbers of `initialize` for this seed, and a skew of the routing, because with
// random weights alone every expert is chosen about as often, which no trained model shows. Every
// expert of a layer has a standard normal number n_e of its own, a function of the seed:
//   with a selection bias     bias_e = skew * n_e   (in units of the scores it is added to)
//   without                   row e of the router is multiplied by exp(skew * n_e)
class RandomParameters final : public ParameterSource {
 public:
  RandomParameters(const ModelConfig& config, uint64_t seed, float router_skew = 0);
  void read(int parameter, int64_t first, std::span<float> out) const override;
  std::string where(int parameter, int64_t element) const override;

 private:
  enum class Skew : uint8_t { none, bias, rows };

  uint64_t seed_;
  float router_skew_;
  std::vector<Skew> skew_;  // by parameter
};

// How far a model has been written: bytes so far. An error ends the writing.
using ReportBytes = std::function<Status(int64_t bytes)>;

}  // namespace unmask
