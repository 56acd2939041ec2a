#include "unmask/checkpoint/packed_layout.h"

#include <charconv>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace unmask {
namespace {

constexpr const char* kVersionKey = "unmask.packed";
constexpr const char* kVersion = "1";
constexpr int32_t kLargestGroup = 4096;  // columns are filled up to whole groups

bool is_group(WeightFormat format, int32_t group) {
  return format == WeightFormat::bf16 ? group == 0
                                      : group > 0 && group % 32 == 0 && group <= kLargestGroup;
}

std::string describe(const PackedFormat::Part& part) {
  if (part.format == WeightFormat::bf16) return std::string(name_of(part.format));
  return fmt::format("{} (a scale for {})", name_of(part.format), part.group);
}

// The fields of the metadata, each of which must be there.
class Metadata {
 public:
  Metadata(const std::map<std::string, std::string>& fields, const std::string& where)
      : fields_(fields), where_(where) {}

  Result<std::string> text(const std::string& key, std::string_view expected) const {
    const auto found = fields_.find(key);
    if (found == fields_.end()) {
      return failure("{}: __metadata__ \"{}\": missing, expected {}", where_, key, expected);
    }
    return found->second;
  }

  Result<PackedFormat::Part> part(const std::string& key) const {
    PackedFormat::Part part;
    UNMASK_TRY(const std::string name, text(key, "bf16, int8 or int4"));
    bool known = false;
    for (const WeightFormat format : kWeightFormats) {
      if (name_of(format) != name) continue;
      part.format = format;
      known = true;
    }
    if (!known) return refuse(key, "bf16, int8 or int4", name);
    const std::string group_key = key + ".group";
    UNMASK_TRY(const std::string group, text(group_key, "a number of weights"));
    const char* const end = group.data() + group.size();
    const auto parsed = std::from_chars(group.data(), end, part.group);
    if (parsed.ec != std::errc() || parsed.ptr != end || !is_group(part.format, part.group)) {
      return refuse(group_key,
                    part.format == WeightFormat::bf16 ? "0" : "a multiple of 32 up to 4096", group);
    }
    return part;
  }

  Error refuse(const std::string& key, std::string_view expected, const std::string& found) const {
    constexpr size_t kShown = 100;
    return failure("{}: __metadata__ \"{}\": expected {}, found {:?}", where_, key, expected,
                   std::string_view(found).substr(0, kShown));
  }

 private:
  const std::map<std::string, std::string>& fields_;
  const std::string& where_;
};

class TensorList {
 public:
  TensorList(const ParameterLayout& layout) : layout_(layout) {}

  void matrix(std::string name, int parameter, const PackedFormat::Part& format) {
    const ParameterInfo& p = info(parameter);
    packed(std::move(name), {{parameter, format.shape(p.rows, p.cols)}}, 1);
  }
  void feed_forward(std::string name, int gate, int up, int down, const ExpertForm& form,
                    int64_t records) {
    if (gate < 0) return;
    packed(std::move(name), {{gate, form.up}, {up, form.up}, {down, form.down}}, records);
  }
  void plain(int parameter, DType dtype) {
    if (parameter < 0) return;
    const ParameterInfo& p = info(parameter);
    TensorSpec spec{p.name, dtype, {p.cols}};
    // Vectors are the parameters that no product multiplies by rows: the router and the embedding
    // are the only others.
    const bool table = parameter == layout_.embedding || p.name.ends_with("router");
    if (table) spec.shape.insert(spec.shape.begin(), p.rows);
    tensors_.push_back({std::move(spec), {{parameter, std::nullopt}}, 1});
  }
  const ParameterInfo& info(int parameter) const {
    return layout_.table[static_cast<size_t>(parameter)];
  }
  std::vector<PackedTensor> take() { return std::move(tensors_); }

 private:
  void packed(std::string name, std::vector<PackedTensor::Part> parts, int64_t records) {
    int64_t bytes = 0;
    for (const PackedTensor::Part& part : parts) bytes += part.shape->bytes();
    TensorSpec spec{std::move(name), DType::u8, {bytes}};
    if (parts.size() > 1) spec.shape.insert(spec.shape.begin(), records);
    tensors_.push_back({std::move(spec), std::move(parts), records});
  }

  const ParameterLayout& layout_;
  std::vector<PackedTensor> tensors_;
};

}  // namespace

Result<PackedFormat> packed_format(WeightFormat format, std::optional<int32_t> group) {
  const int32_t chosen = group.value_or(default_group(format));
  if (!is_group(format, chosen)) {
    return format == WeightFormat::bf16
               ? usage_error("group: bf16 has no scales; expected none, found {}", chosen)
               : usage_error("group: expected a multiple of 32 up to {}, found {}", kLargestGroup,
                             chosen);
  }
  const WeightFormat dense = format == WeightFormat::int4 ? WeightFormat::int8 : format;
  return PackedFormat{{format, chosen}, {dense, default_group(dense)}};
}

std::string describe(const PackedFormat& format) {
  if (format.experts == format.dense) return describe(format.dense);
  return fmt::format("experts {}, the rest {}", describe(format.experts), describe(format.dense));
}

std::map<std::string, std::string> packed_metadata(const PackedFormat& format) {
  return {{kVersionKey, kVersion},
          {"experts", std::string(name_of(format.experts.format))},
          {"experts.group", std::to_string(format.experts.group)},
          {"dense", std::string(name_of(format.dense.format))},
          {"dense.group", std::to_string(format.dense.group)}};
}

Result<PackedFormat> packed_format_of(const std::map<std::string, std::string>& metadata,
                                      const std::string& where) {
  const Metadata fields(metadata, where);
  UNMASK_TRY(const std::string version, fields.text(kVersionKey, kVersion));
  if (version != kVersion) {
    return fields.refuse(kVersionKey,
                         fmt::format("{} (another version of unmask wrote this file)", kVersion),
                         version);
  }
  UNMASK_TRY(const PackedFormat::Part experts, fields.part("experts"));
  UNMASK_TRY(const PackedFormat::Part dense, fields.part("dense"));
  return PackedFormat{experts, dense};
}

std::string experts_name(int32_t layer) { return fmt::format("layers.{}.experts", layer); }

std::string feed_forward_name(int32_t layer, bool dense) {
  return fmt::format("layers.{}.{}", layer, dense ? "dense" : "shared");
}

ExpertForm expert_form(const ModelConfig& config, const PackedFormat& format) {
  return {format.experts.shape(config.expert_ffn, config.hidden),
          format.experts.shape(config.hidden, config.expert_ffn)};
}

ExpertForm feed_forward_form(const ModelConfig& config, bool dense, const PackedFormat& format) {
  const int32_t width = dense ? config.dense_ffn : config.shared_ffn;
  return {format.dense.shape(width, config.hidden), format.dense.shape(config.hidden, width)};
}

std::vector<PackedTensor> packed_tensors(const ModelConfig& config, const ParameterLayout& layout,
                                         const PackedFormat& format) {
  TensorList list(layout);
  for (int32_t i = 0; i < config.layers; ++i) {
    const ParameterLayout::Layer& p = layout.layers[static_cast<size_t>(i)];
    const bool dense = config.is_dense(i);
    list.matrix(list.info(p.qkv).name, p.qkv, format.dense);
    list.matrix(list.info(p.attention_out).name, p.attention_out, format.dense);
    list.feed_forward(feed_forward_name(i, dense), p.shared_gate, p.shared_up, p.shared_down,
                      feed_forward_form(config, dense, format), 1);
    list.feed_forward(experts_name(i), p.expert_gate, p.expert_up, p.expert_down,
                      expert_form(config, format), config.experts);
  }
  list.matrix("head", layout.head, format.dense);
  for (const ParameterLayout::Layer& p : layout.layers) {
    for (const int parameter : {p.attention_norm, p.qkv_bias, p.q_norm, p.k_norm,
                                p.attention_out_bias, p.ffn_norm, p.router, p.expert_bias}) {
      list.plain(parameter, DType::f32);
    }
  }
  list.plain(layout.final_norm, DType::f32);
  list.plain(layout.embedding, DType::bf16);
  return list.take();
}

}  // namespace unmask
