#include "unmask/cli/logits_file.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace unmask::cli {
namespace {

// "logits[1, 3, 5]" of the element with this number.
std::string element_name(const Tensor& tensor, int64_t number) {
  std::vector<int64_t> index(tensor.shape.size());
  for (size_t i = index.size(); i-- > 0;) {
    index[i] = number % tensor.shape[i];
    number /= tensor.shape[i];
  }
  return fmt::format("{}[{}]", tensor.name, fmt::join(index, ", "));
}

Status expect_dtype(const Safetensors& file, const Tensor& tensor, DType expected) {
  if (tensor.dtype == expected) return {};
  return usage_error("{}: expected {}, found {}", file.where(tensor), dtype_name(expected),
                     dtype_name(tensor.dtype));
}

Status expect_shape(const Safetensors& file, const Tensor& tensor,
                    const std::vector<int64_t>& shape) {
  if (tensor.shape == shape) return {};
  return usage_error("{}: expected the shape {}, found {}", file.where(tensor), shape_text(shape),
                     shape_text(tensor.shape));
}

Result<std::vector<float>> finite_values(const Safetensors& file, const Tensor& tensor) {
  UNMASK_TRY_STATUS(expect_dtype(file, tensor, DType::f32));
  std::vector<float> values(tensor.elements());
  UNMASK_TRY_STATUS(file.read(tensor, values));
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return usage_error("{}: {}: expected a finite number, found {}", file.where(tensor),
                       element_name(tensor, static_cast<int64_t>(i)), values[i]);
  }
  return values;
}

Result<std::vector<uint8_t>> read_mask(const Safetensors& file, const Tensor& tensor) {
  UNMASK_TRY_STATUS(expect_dtype(file, tensor, DType::u8));
  std::vector<uint8_t> values(tensor.elements());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<uint8_t>(tensor.bytes[i]);
    if (values[i] <= 1) continue;
    return usage_error("{}: {}: expected 1 (masked) or 0, found {}", file.where(tensor),
                       element_name(tensor, static_cast<int64_t>(i)), values[i]);
  }
  return values;
}

Status read_shape(const Safetensors& file, const Tensor& logits, LogitsFile& result) {
  const auto& shape = logits.shape;
  if (shape.size() != 3) {
    return usage_error("{}: expected the shape [sequences, tokens, experts], found {}",
                       file.where(logits), shape_text(shape));
  }
  if (logits.elements() == 0) {
    return usage_error("{}: expected at least one sequence, token and expert, found {}",
                       file.where(logits), shape_text(shape));
  }
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (shape[0] * shape[1] >= kMost || shape[2] >= kMost) {
    return usage_error("{}: expected fewer than 2^31 tokens and experts, found {}",
                       file.where(logits), shape_text(shape));
  }
  result.sequences = shape[0];
  result.length = shape[1];
  result.experts = static_cast<int32_t>(shape[2]);
  return {};
}

}  // namespace

RouteContext LogitsFile::context() const {
  return {.sequence_begin = sequence_begin,
          .mask_ratio = mask_ratio,
          .masked = masked,
          .padding = {},
          .position = {},
          .expert_bias = expert_bias};
}

Result<const Tensor*> find_tensor(const Safetensors& file, const std::string& path,
                                  std::string_view name) {
  if (const Tensor* tensor = file.find(name)) return tensor;
  std::vector<std::string_view> names;
  for (const Tensor& tensor : file.tensors()) names.push_back(tensor.name);
  return usage_error("{}: expected a tensor \"{}\", found {}", path, name,
                     names.empty() ? "none" : fmt::format("only {}", fmt::join(names, ", ")));
}

Result<std::vector<float>> read_finite(const Safetensors& file, std::string_view name,
                                       const std::vector<int64_t>& shape) {
  const Tensor& tensor = *file.find(name);
  UNMASK_TRY_STATUS(expect_shape(file, tensor, shape));
  return finite_values(file, tensor);
}

Result<LogitsFile> read_logits_file(const std::string& path) {
  UNMASK_TRY(const Safetensors file, Safetensors::open(path));
  UNMASK_TRY(const Tensor* logits, find_tensor(file, path, "logits"));
  LogitsFile result;
  UNMASK_TRY_STATUS(read_shape(file, *logits, result));
  UNMASK_TRY(result.logits, finite_values(file, *logits));
  if (file.find("expert_bias") != nullptr) {
    UNMASK_TRY(result.expert_bias, read_finite(file, "expert_bias", {result.experts}));
  }
  result.mask_ratio.assign(result.sequences, 0.0f);
  if (const Tensor* masked = file.find("masked")) {
    UNMASK_TRY_STATUS(expect_shape(file, *masked, {result.sequences, result.length}));
    UNMASK_TRY(result.masked, read_mask(file, *masked));
    for (int64_t b = 0; b < result.sequences; ++b) {
      const auto begin = result.masked.begin() + b * result.length;
      const int64_t count = std::accumulate(begin, begin + result.length, int64_t{0});
      result.mask_ratio[b] = static_cast<float>(count) / static_cast<float>(result.length);
    }
  }
  for (int64_t b = 0; b <= result.sequences; ++b) {
    result.sequence_begin.push_back(static_cast<int32_t>(b * result.length));
  }
  return result;
}

}  // namespace unmask::cli
