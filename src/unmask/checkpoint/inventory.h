#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/checkpoint/packed_layout.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/model/config.h"

namespace unmask {

// What a parameter does in the model.
enum class ParameterKind { experts, shared, attention, routers, norms, embedding, head };

inline constexpr ParameterKind kParameterKinds[] = {
    ParameterKind::experts, ParameterKind::shared, ParameterKind::attention,
    ParameterKind::routers, ParameterKind::norms,  ParameterKind::embedding,
    ParameterKind::head};

// "experts", …; `shared` are the shared experts and the feed-forward of dense layers, `attention`
// and `routers` have their biases with them.
std::string_view name_of(ParameterKind kind);

// A model as it lies in its directory, checked as for use.
struct Inventory {
  struct Entry {
    std::string name;
    DType dtype = DType::f32;
    std::vector<int64_t> shape;
    int64_t bytes = 0;
    ParameterKind kind = ParameterKind::norms;

    int64_t elements() const { return bytes / dtype_bytes(dtype); }
  };

  ModelConfig config;
  std::optional<PackedFormat> packed;  // nullopt: a checkpoint
  std::vector<Entry> tensors;          // of parameters, without checksums

  int64_t bytes() const;
  int64_t bytes(ParameterKind kind) const;
  // "F32", "BF16 and F32", or describe(*packed)
  std::string format() const;
};

Result<Inventory> take_inventory(const std::string& directory);

}  // namespace unmask
