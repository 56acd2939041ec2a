#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/base/result.h"
#include "unmask/checkpoint/packed_weights.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"
#include "unmask/model/weights.h"

namespace unmask {

// Whether a directory holds a packed model.
bool is_packed(const std::string& directory);

// A packed model (docs/model-file.md). Opening maps it and reads the header: every tensor's
// presence, size and place is checked against config.json; checksums only when asked, because they
// read everything.
class ModelFile final : public WeightStore {
 public:
  static Result<ModelFile> open(const std::string& directory);

  const ModelConfig& config() const { return config_; }
  const PackedFormat& format() const { return format_; }
  const Safetensors& archive() const { return archive_; }

  // Views into the mapping, or of what was loaded, and into this object's tables: gone with it.
  const ModelWeights& weights() const { return weights_; }

  // Routed experts are from now on read into a cache of so many bytes (expert_cache.h). Before
  // `load`.
  Status limit_expert_memory(int64_t bytes);

  // Copies the weights, but for experts that go through the cache, to memory on large pages, where
  // there is room: those of a file are small unless its file system happened to read it in large
  // pieces, and finding them costs a third of a step (docs/kernels.md, "Pages first"). Without room
  // for it the file stays mapped, and a pass brings the experts that it chooses.
  Status load();

  // Whether the file is as it was, and every expert could be read.
  Status intact() const override;

  // Reads every byte and compares checksums; the error names the first damaged tensor.
  Status verify() const;

 private:
  // Where `load` puts what.
  struct Copies {
    struct Piece {
      std::span<const std::byte> from;  // in the mapping
      size_t to = 0;                    // in `loaded_`
    };
    std::vector<Piece> pieces;
    std::unordered_map<std::string, size_t> place;  // in `loaded_`, by the name of the tensor
    size_t bytes = 0;
  };

  ModelFile(ModelConfig config, PackedFormat format, Safetensors archive);

  const Tensor& tensor(const std::string& name) const;
  void use(const PackedWeights::BytesOf& bytes_of);
  Copies plan_copies() const;

  ModelConfig config_;
  ParameterLayout layout_;
  PackedFormat format_;
  Safetensors archive_;
  Buffer loaded_;
  PackedWeights packed_;
  ModelWeights weights_;  // of `packed_`, or with cached experts
  std::unique_ptr<ExpertCache> cache_;
};

}  // namespace unmask
