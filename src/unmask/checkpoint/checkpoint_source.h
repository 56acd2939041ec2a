#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/checkpoint/parameter_source.h"
#include "unmask/checkpoint/safetensors.h"

namespace unmask {

// The parameters of a checkpoint directory (hugging_face.h) of any family, from any floating-point
// type, experts split or merged, in one file or in shards. Opening matches every tensor with the
// configuration: one error names all that are missing, unexpected or of another shape.
class CheckpointSource final : public ParameterSource {
 public:
  // Some elements of a parameter, and where a tensor holds them.
  struct Segment {
    int64_t first = 0;  // of the parameter
    const Tensor* tensor = nullptr;
    int64_t begin = 0;  // of the tensor
    int64_t count = 0;
  };

  static Result<CheckpointSource> open(const std::string& directory, const ModelConfig& config);

  // Goes through the files once: what has been read is released (safetensors.h).
  void read(int parameter, int64_t first, std::span<float> out) const override;
  Status unchanged() const override { return archive_.unchanged(); }
  std::string where(int parameter, int64_t element) const override;

  // The tensors of a parameter, which follow one another.
  const std::vector<Segment>& segments(int parameter) const {
    return segments_[static_cast<size_t>(parameter)];
  }

 private:
  CheckpointSource(const ModelConfig& config, Safetensors archive)
      : ParameterSource(config), archive_(std::move(archive)) {}
  size_t segment_at(int parameter, int64_t element) const;

  Safetensors archive_;
  std::vector<std::vector<Segment>> segments_;  // by parameter
};

}  // namespace unmask
