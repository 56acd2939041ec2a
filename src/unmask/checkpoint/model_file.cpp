#include "unmask/checkpoint/model_file.h"

#include <filesystem>
#include <unordered_set>
#include <utility>
#include <xxhash.h>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/memory.h"
#include "unmask/base/parallel.h"
#include "unmask/checkpoint/model_config_json.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr uintptr_t kPackedAlignment = 64;
constexpr size_t kPiece = size_t{16} << 20;
constexpr int64_t kRoom = int64_t{1} << 30;  // for what a pass computes

// What the file must hold, against what it does.
std::vector<std::string> differences(const Safetensors& archive,
                                     const std::vector<PackedTensor>& expected) {
  std::vector<std::string> lines;
  std::unordered_set<std::string> names;
  const auto expect = [&](const TensorSpec& spec, uintptr_t alignment) {
    names.insert(spec.name);
    const Tensor* tensor = archive.find(spec.name);
    if (tensor == nullptr) {
      lines.push_back(fmt::format("tensor \"{}\": missing, expected {} {}", spec.name,
                                  dtype_name(spec.dtype), shape_text(spec.shape)));
    } else if (tensor->dtype != spec.dtype || tensor->shape != spec.shape) {
      lines.push_back(fmt::format("{}: expected {} {}, found {} {}", archive.where(*tensor),
                                  dtype_name(spec.dtype), shape_text(spec.shape),
                                  dtype_name(tensor->dtype), shape_text(tensor->shape)));
    } else if (reinterpret_cast<uintptr_t>(tensor->bytes.data()) % alignment != 0) {
      lines.push_back(
          fmt::format("{}: expected to lie on {} bytes: rewritten by other software? Convert the "
                      "checkpoint again",
                      archive.where(*tensor), alignment));
    }
  };
  for (const PackedTensor& tensor : expected) {
    const bool packed = tensor.parts[0].shape.has_value();
    expect(tensor.spec,
           packed ? kPackedAlignment : static_cast<uintptr_t>(dtype_bytes(tensor.spec.dtype)));
  }
  expect({kChecksums, DType::u64, {std::ssize(expected)}}, 1);
  for (const Tensor& tensor : archive.tensors()) {
    if (!names.contains(tensor.name)) {
      lines.push_back(fmt::format("{}: unexpected", archive.where(tensor)));
    }
  }
  return lines;
}

}  // namespace

bool is_packed(const std::string& directory) {
  return path_exists(fs::path(directory) / kPackedWeights);
}

Result<ModelFile> ModelFile::open(const std::string& directory) {
  const std::string config_path = (fs::path(directory) / "config.json").string();
  const std::string path = (fs::path(directory) / kPackedWeights).string();
  UNMASK_TRY(const auto document, read_json_file(config_path));
  UNMASK_TRY(ModelConfig config, model_config_from_json(document, config_path));
  UNMASK_TRY(Safetensors archive, Safetensors::open(path));
  UNMASK_TRY(const PackedFormat format, packed_format_of(archive.metadata(), path));
  ModelFile file(std::move(config), format, std::move(archive));
  const auto lines =
      differences(file.archive_, packed_tensors(file.config_, file.layout_, file.format_));
  if (!lines.empty()) {
    constexpr size_t kShown = 100;
    const auto shown = std::span(lines).first(std::min(kShown, lines.size()));
    return failure("{}: {} does not fit config.json:\n  {}{}", directory, kPackedWeights,
                   fmt::join(shown, "\n  "),
                   shown.size() < lines.size()
                       ? fmt::format("\n  and {} more", lines.size() - shown.size())
                       : "");
  }
  file.use([&](const std::string& name) { return file.tensor(name).bytes.data(); });
  return file;
}

ModelFile::ModelFile(ModelConfig config, PackedFormat format, Safetensors archive)
    : config_(std::move(config)), layout_(config_), format_(format), archive_(std::move(archive)) {}

const Tensor& ModelFile::tensor(const std::string& name) const {
  const Tensor* const found = archive_.find(name);
  UNMASK_CHECK(found != nullptr);
  return *found;
}

void ModelFile::use(const PackedWeights::BytesOf& bytes_of) {
  packed_ = PackedWeights(config_, format_, bytes_of);
  weights_ = packed_.weights();
  for (int32_t i = config_.dense_layers; cache_ && i < config_.layers; ++i) {
    weights_.layers[static_cast<size_t>(i)].moe.experts =
        CachedExperts{cache_.get(), i - config_.dense_layers};
  }
}

Status ModelFile::limit_expert_memory(int64_t bytes) {
  UNMASK_CHECK(loaded_.size() == 0);  // before `load`
  if (config_.dense_layers >= config_.layers) {
    return usage_error("expert memory: this model has no experts to be chosen among");
  }
  const ExpertForm form = expert_form(config_, format_);
  std::vector<const Tensor*> experts;
  for (int32_t i = config_.dense_layers; i < config_.layers; ++i) {
    experts.push_back(&tensor(experts_name(i)));
  }
  const MappedFile& file = archive_.file_of(*experts[0]);
  const auto read = [&file, experts, form](int32_t layer, int32_t expert,
                                           std::span<std::byte> record) {
    const auto* const first = experts[static_cast<size_t>(layer)]->bytes.data();
    return file.read(first + expert * form.bytes(), record);
  };
  UNMASK_TRY(cache_, ExpertCache::create(form, config_.layers - config_.dense_layers,
                                         config_.experts, bytes, read));
  use([&](const std::string& name) { return tensor(name).bytes.data(); });
  return {};
}

ModelFile::Copies ModelFile::plan_copies() const {
  std::unordered_set<std::string> cached;
  for (int32_t i = config_.dense_layers; cache_ && i < config_.layers; ++i) {
    cached.insert(experts_name(i));
  }
  Copies copies;
  for (const PackedTensor& packed : packed_tensors(config_, layout_, format_)) {
    if (cached.contains(packed.spec.name)) continue;
    auto rest = tensor(packed.spec.name).bytes;
    const size_t alignment = rest.size() < kHugePage ? kPackedAlignment : kHugePage;
    copies.bytes = (copies.bytes + alignment - 1) / alignment * alignment;
    copies.place.emplace(packed.spec.name, copies.bytes);
    while (!rest.empty()) {
      const auto piece = rest.first(std::min(kPiece, rest.size()));
      copies.pieces.push_back({piece, copies.bytes});
      copies.bytes += piece.size();
      rest = rest.subspan(piece.size());
    }
  }
  return copies;
}

Status ModelFile::load() {
  const Copies copies = plan_copies();
  // The cache has taken nothing yet.
  const int64_t taken = kRoom + (cache_ ? cache_->bytes() : 0);
  if (static_cast<int64_t>(copies.bytes) > available_memory() - taken) return {};

  const MappedFile& file = archive_.file_of(tensor(kChecksums));
  Buffer loaded;
  try {
    loaded = Buffer(copies.bytes);
  } catch (const std::bad_alloc&) {
    return {};  // where a process may have less than the machine has
  }
  std::vector<Status> read(copies.pieces.size());
  parallel_for(std::ssize(copies.pieces), [&](int64_t i) {
    const auto& [from, to] = copies.pieces[static_cast<size_t>(i)];
    read[static_cast<size_t>(i)] = file.read(from.data(), {loaded.data() + to, from.size()});
  });
  for (Status& status : read) UNMASK_TRY_STATUS(std::move(status));
  loaded_ = std::move(loaded);
  use([&](const std::string& name) -> const std::byte* {
    const auto found = copies.place.find(name);
    return found == copies.place.end() ? tensor(name).bytes.data() : loaded_.data() + found->second;
  });
  return {};
}

Status ModelFile::intact() const {
  if (cache_) UNMASK_TRY_STATUS(cache_->status());
  return archive_.unchanged();
}

Status ModelFile::verify() const {
  const auto tensors = packed_tensors(config_, layout_, format_);
  std::vector<int64_t> stored(tensors.size());  // the bits of u64
  UNMASK_TRY_STATUS(archive_.read(*archive_.find(kChecksums), std::span(stored)));
  std::vector<uint8_t> damaged(tensors.size());
  parallel_for(std::ssize(tensors), [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    const auto bytes = archive_.find(tensors[at].spec.name)->bytes;
    damaged[at] = XXH3_64bits(bytes.data(), bytes.size()) != static_cast<uint64_t>(stored[at]);
  });
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (damaged[i] == 0) continue;
    return failure(
        "{}: expected the checksum {:016x}, found other bytes: damaged; convert the checkpoint "
        "again, or copy the file again",
        archive_.where(*archive_.find(tensors[i].spec.name)), static_cast<uint64_t>(stored[i]));
  }
  return {};
}

}  // namespace unmask
