#include "unmask/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstring>
#include <filesystem>
#include <immintrin.h>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "unmask/base/bf16.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/parallel.h"

namespace unmask {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little);

// The reference implementation's limit, against headers made to exhaust memory.
constexpr uint64_t kMaxHeader = 100'000'000;
// {name: {field: [number]}}: nothing in a header lies deeper.
constexpr int kMaxDepth = 3;
constexpr int64_t kDecodedValues = 1 << 16;

struct DTypeEntry {
  DType dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<DTypeEntry, 13> kDTypes = {{{DType::f64, "F64", 8},
                                                 {DType::f32, "F32", 4},
                                                 {DType::f16, "F16", 2},
                                                 {DType::bf16, "BF16", 2},
                                                 {DType::i64, "I64", 8},
                                                 {DType::i32, "I32", 4},
                                                 {DType::i16, "I16", 2},
                                                 {DType::i8, "I8", 1},
                                                 {DType::u64, "U64", 8},
                                                 {DType::u32, "U32", 4},
                                                 {DType::u16, "U16", 2},
                                                 {DType::u8, "U8", 1},
                                                 {DType::boolean, "BOOL", 1}}};

const DTypeEntry& entry(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

// Names come from files: shown escaped, and not at any length.
std::string escaped(std::string_view name) {
  constexpr size_t kShown = 200;
  return fmt::format("{:?}{}", name.substr(0, kShown), name.size() > kShown ? "…" : "");
}

struct Header {
  json root;
  uint64_t data_begin = 0;
};

Result<Header> parse_header(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8) {
    return failure("{}: expected a safetensors file, found {} bytes: too short for a header",
                   file.path(), bytes.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > bytes.size() - 8 || length > kMaxHeader) {
    return failure(
        "{}: expected a safetensors file, found a header of {} bytes in a file of {}: truncated, "
        "or another format",
        file.path(), length, bytes.size());
  }
  std::set<std::string> names;
  std::string problem;
  const auto inspect = [&](int depth, json::parse_event_t event, json& value) {
    using Event = json::parse_event_t;
    if (event == Event::key && depth == 1 && !names.insert(value.get<std::string>()).second) {
      problem = fmt::format("tensor {} is listed twice", escaped(value.get<std::string>()));
    }
    if ((event == Event::object_start || event == Event::array_start) && depth >= kMaxDepth) {
      problem = "the header is nested too deeply";
      return false;
    }
    return true;
  };
  const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  json root = json::parse(text, text + length, inspect, /*allow_exceptions=*/false);
  if (!problem.empty()) return failure("{}: {}", file.path(), problem);
  if (!root.is_object()) {
    return failure("{}: expected a safetensors file, found a header that is not a JSON object",
                   file.path());
  }
  return Header{std::move(root), 8 + length};
}

// An array of non-negative integers.
bool read_sizes(const json& value, std::vector<int64_t>& out) {
  if (!value.is_array()) return false;
  for (const json& item : value) {
    if (!item.is_number_unsigned()) return false;
    const auto n = item.get<uint64_t>();
    if (n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
    out.push_back(static_cast<int64_t>(n));
  }
  return true;
}

Result<Tensor> parse_tensor(const std::string& name, const json& value,
                            std::span<const std::byte> data, const std::string& where) {
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    return failure("{}: expected an object with dtype, shape and data_offsets", where);
  }
  Tensor tensor;
  tensor.name = name;

  const json& dtype = value["dtype"];
  const auto known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeEntry& e) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == e.name;
  });
  if (known == kDTypes.end()) {
    return failure(
        "{}: dtype {}: expected whole numbers, or floating point of 16 bits or more (F16, BF16, "
        "F32, F64); convert the checkpoint to BF16 first",
        where, dtype.is_string() ? escaped(dtype.get<std::string>()) : "(not a string)");
  }
  tensor.dtype = known->dtype;

  if (!read_sizes(value["shape"], tensor.shape)) {
    return failure("{}: expected shape to be a list of non-negative integers", where);
  }
  int64_t expected = known->bytes;
  for (const int64_t n : tensor.shape) {
    if (__builtin_mul_overflow(expected, n, &expected)) {
      return failure("{}: shape {} overflows", where, shape_text(tensor.shape));
    }
  }
  std::vector<int64_t> range;
  if (!read_sizes(value["data_offsets"], range) || range.size() != 2) {
    return failure("{}: expected data_offsets to be two non-negative integers", where);
  }
  if (range[0] > range[1] || static_cast<uint64_t>(range[1]) > data.size()) {
    return failure("{}: data_offsets {} lie outside the file's {} bytes of data: truncated?", where,
                   shape_text(range), data.size());
  }
  if (range[1] - range[0] != expected) {
    return failure("{}: {} of shape {} takes {} bytes, data_offsets {} give {}", where, known->name,
                   shape_text(tensor.shape), expected, shape_text(range), range[1] - range[0]);
  }
  tensor.bytes =
      data.subspan(static_cast<size_t>(range[0]), static_cast<size_t>(range[1] - range[0]));
  return tensor;
}

// The format has neither gaps nor overlaps; `tensors` are in the order of their data.
Status check_coverage(const std::vector<Tensor>& tensors, std::span<const std::byte> data,
                      const std::string& path) {
  const std::byte* at = data.data();
  for (const Tensor& tensor : tensors) {
    if (tensor.bytes.data() != at) {
      return failure("{}: tensor {}: its data {} what stands before it", path, escaped(tensor.name),
                     tensor.bytes.data() < at ? "overlaps" : "leaves a gap after");
    }
    at += tensor.bytes.size();
  }
  if (at != data.data() + data.size()) {
    return failure("{}: {} bytes after the last tensor belong to none", path,
                   data.data() + data.size() - at);
  }
  return {};
}

template <class From, class To, class Convert>
void convert_all(std::span<const std::byte> bytes, std::span<To> out, Convert convert) {
  parallel_pieces(static_cast<int64_t>(out.size()), kDecodedValues,
                  [&](int64_t begin, int64_t end) {
                    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
                      From value;
                      std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
                      out[i] = convert(value);
                    }
                  });
}

template <class From, class To>
void cast_all(std::span<const std::byte> bytes, std::span<To> out) {
  convert_all<From>(bytes, out, [](From value) { return static_cast<To>(value); });
}

// Integers and booleans to any type; false: `bytes` hold something else.
template <class To>
bool read_integers(DType dtype, std::span<const std::byte> bytes, std::span<To> out) {
  switch (dtype) {
    case DType::i64:
      cast_all<int64_t>(bytes, out);
      return true;
    case DType::i32:
      cast_all<int32_t>(bytes, out);
      return true;
    case DType::i16:
      cast_all<int16_t>(bytes, out);
      return true;
    case DType::i8:
      cast_all<int8_t>(bytes, out);
      return true;
    case DType::u64:
      cast_all<uint64_t>(bytes, out);
      return true;
    case DType::u32:
      cast_all<uint32_t>(bytes, out);
      return true;
    case DType::u16:
      cast_all<uint16_t>(bytes, out);
      return true;
    case DType::u8:
      cast_all<uint8_t>(bytes, out);
      return true;
    case DType::boolean:
      convert_all<uint8_t>(bytes, out, [](uint8_t value) { return static_cast<To>(value != 0); });
      return true;
    default:
      return false;
  }
}

void read_floats(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  switch (dtype) {
    case DType::f64:
      return cast_all<double>(bytes, out);
    case DType::f32:
      return cast_all<float>(bytes, out);
    case DType::f16:
      return convert_all<uint16_t>(bytes, out, [](uint16_t bits) { return _cvtsh_ss(bits); });
    case DType::bf16:
      return cast_all<bf16>(bytes, out);
    default:
      UNMASK_CHECK(read_integers(dtype, bytes, out));
  }
}

}  // namespace

std::string_view dtype_name(DType dtype) { return entry(dtype).name; }

int64_t dtype_bytes(DType dtype) { return entry(dtype).bytes; }

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<Safetensors> Safetensors::open(const std::string& path) {
  Safetensors archive;
  UNMASK_TRY_STATUS(archive.add_file(path));
  return archive;
}

Result<Safetensors> Safetensors::open_directory(const std::string& directory) {
  namespace fs = std::filesystem;
  const std::string single = (fs::path(directory) / "model.safetensors").string();
  const std::string index_path = single + ".index.json";
  if (path_exists(single)) return open(single);  // before an index, as transformers does
  if (!path_exists(index_path)) {
    return failure("{}: expected model.safetensors or model.safetensors.index.json, found neither",
                   directory);
  }

  UNMASK_TRY(const std::string text, read_file(index_path));
  const json index = json_in(text);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return failure("{}: expected a JSON object with a weight_map of tensor names to files",
                   index_path);
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || shard.get<std::string>().empty() ||
        shard.get<std::string>().find('/') != std::string::npos) {
      return failure("{}: tensor {}: expected the name of a file in the same directory", index_path,
                     escaped(name));
    }
    shards.insert(shard.get<std::string>());
  }
  Safetensors archive;
  for (const std::string& shard : shards) {
    UNMASK_TRY_STATUS(archive.add_file((fs::path(directory) / shard).string()));
  }
  for (const auto& [name, shard] : index["weight_map"].items()) {
    const Tensor* tensor = archive.find(name);
    if (tensor == nullptr ||
        fs::path(archive.files_[tensor->file].path()).filename() != shard.get<std::string>()) {
      return failure("{}: tensor {}: listed in {}, which does not hold it", index_path,
                     escaped(name), shard.get<std::string>());
    }
  }
  return archive;
}

Status Safetensors::add_file(const std::string& path) {
  UNMASK_TRY(MappedFile mapped, MappedFile::open(path));
  UNMASK_TRY(const Header header, parse_header(mapped));
  const auto data = mapped.bytes().subspan(header.data_begin);

  std::vector<Tensor> tensors;
  for (const auto& [name, value] : header.root.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, text] : value.items()) {
        if (text.is_string()) metadata_[key] = text.get<std::string>();
      }
      continue;
    }
    UNMASK_TRY(Tensor tensor,
               parse_tensor(name, value, data, fmt::format("{}: tensor {}", path, escaped(name))));
    tensor.file = files_.size();
    tensors.push_back(std::move(tensor));
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  UNMASK_TRY_STATUS(check_coverage(tensors, data, path));
  for (Tensor& tensor : tensors) {
    if (!index_.emplace(tensor.name, tensors_.size()).second) {
      return failure("{}: tensor {}: another file holds it too", path, escaped(tensor.name));
    }
    tensors_.push_back(std::move(tensor));
  }
  files_.push_back(std::move(mapped));
  return {};
}

const Tensor* Safetensors::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::string Safetensors::where(const Tensor& tensor) const {
  return fmt::format("{}: tensor {}", files_[tensor.file].path(), escaped(tensor.name));
}

Status Safetensors::read(const Tensor& tensor, std::span<float> out) const {
  UNMASK_CHECK(std::ssize(out) == tensor.elements());
  read_floats(tensor.dtype, tensor.bytes, out);
  return {};
}

Status Safetensors::unchanged() const {
  for (const MappedFile& file : files_) UNMASK_TRY_STATUS(file.unchanged());
  return {};
}

void Safetensors::read_once(const Tensor& tensor, int64_t first, std::span<float> out) const {
  UNMASK_CHECK(first >= 0 && first + std::ssize(out) <= tensor.elements());
  const auto size = static_cast<size_t>(dtype_bytes(tensor.dtype));
  const auto part = tensor.bytes.subspan(static_cast<size_t>(first) * size, out.size() * size);
  read_floats(tensor.dtype, part, out);
  files_[tensor.file].release(part);
}

Status Safetensors::read(const Tensor& tensor, std::span<int64_t> out) const {
  UNMASK_CHECK(std::ssize(out) == tensor.elements());
  if (!read_integers(tensor.dtype, tensor.bytes, out)) {
    return failure("{}: expected integers, found {}", where(tensor), dtype_name(tensor.dtype));
  }
  return {};
}

}  // namespace unmask
