#include "unmask/checkpoint/inventory.h"

#include <array>
#include <set>

#include <fmt/ranges.h>

#include "unmask/checkpoint/checkpoint_source.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_file.h"

namespace unmask {
namespace {

std::vector<ParameterKind> kinds_of(const ParameterLayout& layout) {
  std::vector<ParameterKind> kinds(layout.table.size(), ParameterKind::norms);
  const auto set = [&](ParameterKind kind, std::initializer_list<int> parameters) {
    for (const int parameter : parameters) {
      if (parameter >= 0) kinds[static_cast<size_t>(parameter)] = kind;
    }
  };
  for (const ParameterLayout::Layer& p : layout.layers) {
    set(ParameterKind::attention, {p.qkv, p.qkv_bias, p.attention_out, p.attention_out_bias});
    set(ParameterKind::routers, {p.router, p.expert_bias});
    set(ParameterKind::experts, {p.expert_gate, p.expert_up, p.expert_down});
    set(ParameterKind::shared, {p.shared_gate, p.shared_up, p.shared_down});
  }
  set(ParameterKind::head, {layout.head});
  set(ParameterKind::embedding, {layout.embedding});  // also when it is the head
  return kinds;
}

Inventory::Entry entry_of(const Tensor& tensor, ParameterKind kind) {
  return {tensor.name, tensor.dtype, tensor.shape, static_cast<int64_t>(tensor.bytes.size()), kind};
}

Result<Inventory> inventory_of_packed(const std::string& directory) {
  UNMASK_TRY(const ModelFile file, ModelFile::open(directory));
  Inventory inventory{file.config(), file.format(), {}};
  const ParameterLayout layout(file.config());
  const auto kinds = kinds_of(layout);
  for (const PackedTensor& tensor : packed_tensors(file.config(), layout, file.format())) {
    const Tensor& stored = *file.archive().find(tensor.spec.name);
    // A tied head is a copy of the embedding in another form.
    const bool head = tensor.parts[0].parameter == layout.head && tensor.parts[0].shape;
    inventory.tensors.push_back(
        entry_of(stored, head ? ParameterKind::head
                              : kinds[static_cast<size_t>(tensor.parts[0].parameter)]));
  }
  return inventory;
}

Result<Inventory> inventory_of_checkpoint(const std::string& directory) {
  UNMASK_TRY(const ModelConfig config, load_model_config(directory));
  UNMASK_TRY(const CheckpointSource source, CheckpointSource::open(directory, config));
  Inventory inventory{config, std::nullopt, {}};
  const auto kinds = kinds_of(source.layout());
  for (size_t i = 0; i < kinds.size(); ++i) {
    for (const auto& segment : source.segments(static_cast<int>(i))) {
      if (segment.begin == 0) inventory.tensors.push_back(entry_of(*segment.tensor, kinds[i]));
    }
  }
  return inventory;
}

}  // namespace

std::string_view name_of(ParameterKind kind) {
  constexpr std::array<std::string_view, 7> names = {"experts", "shared",    "attention", "routers",
                                                     "norms",   "embedding", "head"};
  return names[static_cast<size_t>(kind)];
}

int64_t Inventory::bytes() const {
  int64_t sum = 0;
  for (const Entry& entry : tensors) sum += entry.bytes;
  return sum;
}

int64_t Inventory::bytes(ParameterKind kind) const {
  int64_t sum = 0;
  for (const Entry& entry : tensors) sum += entry.kind == kind ? entry.bytes : 0;
  return sum;
}

std::string Inventory::format() const {
  if (packed) return describe(*packed);
  std::set<std::string_view> types;
  for (const Entry& entry : tensors) types.insert(dtype_name(entry.dtype));
  return fmt::format("{}", fmt::join(types, " and "));
}

Result<Inventory> take_inventory(const std::string& directory) {
  return is_packed(directory) ? inventory_of_packed(directory) : inventory_of_checkpoint(directory);
}

}  // namespace unmask
