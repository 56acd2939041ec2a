#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/kernels/quantized_experts.h"
#include "unmask/kernels/quantized_matrix.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"

namespace unmask {

// What the weights file of a packed model holds, field by field (docs/model-file.md): made from the
// configuration and the formats alone, so that who writes and who reads cannot differ.

inline constexpr const char* kPackedWeights = "packed.safetensors";
inline constexpr const char* kChecksums = "checksums";

struct PackedFormat {
  struct Part {
    WeightFormat format = WeightFormat::bf16;
    int32_t group = 0;
    bool operator==(const Part&) const = default;
    QuantizedShape shape(int64_t rows, int64_t cols) const { return {format, rows, cols, group}; }
  };
  Part experts;  // routed
  Part dense;    // everything else that is multiplied
  bool operator==(const PackedFormat&) const = default;
};

// bf16 and int8: everything in that format. int4: the routed experts; the rest is int8, because the
// experts are nearly all of the bytes, and the rest, which every token passes, is where an error
// hurts. `group`: weights of an expert that share a scale, absent = default_group.
Result<PackedFormat> packed_format(WeightFormat format, std::optional<int32_t> group = {});

// "experts int4 (a scale for 64), the rest int8 (a scale for 128)"
std::string describe(const PackedFormat& format);

// The header's __metadata__.
std::map<std::string, std::string> packed_metadata(const PackedFormat& format);
// `where` names the file in errors.
Result<PackedFormat> packed_format_of(const std::map<std::string, std::string>& metadata,
                                      const std::string& where);

// One tensor of the file. Packed: `records` records behind each other, record r holding part r of
// each of its parameters, each as its tiles and then its scales. Plain: a parameter as it is, in
// spec.dtype.
struct PackedTensor {
  struct Part {
    int parameter = -1;
    std::optional<QuantizedShape> shape;  // nullopt: plain
  };
  TensorSpec spec;
  std::vector<Part> parts;
  int64_t records = 1;
};

std::string experts_name(int32_t layer);                   // "layers.3.experts"
std::string feed_forward_name(int32_t layer, bool dense);  // "layers.3.shared", "layers.0.dense"

ExpertForm expert_form(const ModelConfig& config, const PackedFormat& format);
// Of the shared experts, or of a dense layer.
ExpertForm feed_forward_form(const ModelConfig& config, bool dense, const PackedFormat& format);

// Every tensor but the checksums, in the order of the file: packed ones, whose sizes are multiples
// of 64 bytes, then f32, then the embedding's rows, so that everything lies where it can be used
// in place.
std::vector<PackedTensor> packed_tensors(const ModelConfig& config, const ParameterLayout& layout,
                                         const PackedFormat& format);

}  // namespace unmask
