#include "unmask/checkpoint/random_weights.h"

#include <algorithm>

#include "unmask/base/memory.h"
#include "unmask/base/parallel.h"
#include "unmask/base/random.h"
#include "unmask/kernels/random_levels.h"

namespace unmask {
namespace {

void fill_records(const PackedTensor& tensor, uint64_t seed, std::byte* bytes) {
  int64_t record = 0;
  for (const PackedTensor::Part& part : tensor.parts) record += part.shape->bytes();
  parallel_for(tensor.records, [&](int64_t r) {
    std::byte* at = bytes + r * record;
    for (const PackedTensor::Part& part : tensor.parts) {
      fill_with_random_levels(*part.shape, seed + static_cast<uint64_t>(at - bytes), at);
      at += part.shape->bytes();
    }
  });
}

void fill_plain(const PackedTensor& tensor, const ParameterInfo& info, uint64_t seed,
                std::byte* bytes) {
  const RandomKey key{seed, Purpose::synthetic};
  // Embeddings as large as what the layers add: attention adds nearly the same to all tokens, which
  // would then choose the same experts.
  const bool embedding = tensor.spec.dtype == DType::bf16;
  const float std = embedding ? 1.0f : info.init_std;
  parallel_pieces(info.size(), int64_t{1} << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float value =
          std == 0 ? info.init_value : std * random_normal(key, static_cast<uint64_t>(i));
      if (embedding) {
        reinterpret_cast<bf16*>(bytes)[i] = bf16(value);
      } else {
        reinterpret_cast<float*>(bytes)[i] = value;
      }
    }
  });
}

// The first `usable` experts keep a bias of zero, in an order that takes the groups that a token
// may choose from in turn, so that a token finds its experts wherever the groups are limited.
void keep_usable(const ModelConfig& config, int32_t layer, int32_t usable, float* bias) {
  const auto [groups, kept] = config.routing.groups.value_or(RoutingPolicy::Groups{});
  const int32_t size = config.experts / groups;
  std::fill_n(bias, config.experts, -1e9f);
  const auto keep = [&, groups = groups](int32_t group, int32_t place) {
    if (usable-- > 0) bias[(group + layer) % groups * size + (place + 7 * layer) % size] = 0;
  };
  for (int32_t place = 0; place < size; ++place) {
    for (int32_t g = 0; g < kept; ++g) keep(g, place);
  }
  for (int32_t place = 0; place < size; ++place) {
    for (int32_t g = kept; g < groups; ++g) keep(g, place);
  }
}

}  // namespace

Result<std::shared_ptr<const RandomWeights>> RandomWeights::create(const ModelConfig& config,
                                                                   const PackedFormat& format,
                                                                   uint64_t seed, int32_t usable) {
  const ParameterLayout layout(config);
  const auto tensors = packed_tensors(config, layout, format);
  double bytes = 0;
  for (const PackedTensor& tensor : tensors) bytes += static_cast<double>(tensor.spec.bytes());
  const auto memory = static_cast<double>(physical_memory());
  if (bytes > 0.85 * memory) {
    return failure(
        "the model takes {:.1f} GB, and this machine has {:.1f} GB: expected fewer layers, or a "
        "smaller format",
        bytes / 1e9, memory / 1e9);
  }
  auto random = std::make_shared<RandomWeights>();
  for (const PackedTensor& tensor : tensors) {
    ++seed;
    Buffer& buffer =
        random->tensors_.emplace(tensor.spec.name, Buffer(static_cast<size_t>(tensor.spec.bytes())))
            .first->second;
    if (tensor.parts[0].shape) {
      fill_records(tensor, seed, buffer.data());
    } else {
      fill_plain(tensor, layout.table[static_cast<size_t>(tensor.parts[0].parameter)], seed,
                 buffer.data());
    }
  }
  for (int32_t i = config.dense_layers; usable > 0 && i < config.layers; ++i) {
    const int bias = layout.layers[static_cast<size_t>(i)].expert_bias;
    UNMASK_CHECK(bias >= 0);
    keep_usable(config, i, usable,
                random->tensors_.at(layout.table[static_cast<size_t>(bias)].name).as<float>());
  }
  random->weights_ =
      PackedWeights(config, format, [&](const std::string& name) -> const std::byte* {
        return random->tensors_.at(name).data();
      });
  return std::shared_ptr<const RandomWeights>(std::move(random));
}

}  // namespace unmask
