#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/base/view.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/routing/router.h"

namespace unmask::cli {

// What `unmask route` reads: router logits of B sequences of S tokens, and what a policy may look
// at besides. Every value is finite.
struct LogitsFile {
  int64_t sequences = 0, length = 0;
  int32_t experts = 0;
  std::vector<float> logits;       // [sequences, length, experts]
  std::vector<float> expert_bias;  // [experts], or empty
  std::vector<uint8_t> masked;     // [sequences, length], or empty

  std::vector<int32_t> sequence_begin;  // [sequences + 1]
  std::vector<float> mask_ratio;        // [sequences]: masked / length; 0 without `masked`

  int64_t tokens() const { return sequences * length; }
  ConstMatrix matrix() const { return {logits.data(), tokens(), experts}; }
  RouteContext context() const;
};

Result<LogitsFile> read_logits_file(const std::string& path);

// A tensor of finite F32 of exactly this shape.
Result<std::vector<float>> read_finite(const Safetensors& file, std::string_view name,
                                       const std::vector<int64_t>& shape);

// The tensor, or an error that lists those there are.
Result<const Tensor*> find_tensor(const Safetensors& file, const std::string& path,
                                  std::string_view name);

}  // namespace unmask::cli
