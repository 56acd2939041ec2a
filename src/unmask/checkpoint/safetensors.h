#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "unmask/base/mapped_file.h"
#include "unmask/base/result.h"

namespace unmask {

// The safetensors format: u64 little-endian header length, JSON header
// {name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {string: string}}, data.
// https://huggingface.co/docs/safetensors

enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

std::string_view dtype_name(DType dtype);  // "F32", "BF16", …
int64_t dtype_bytes(DType dtype);

// A tensor inside a mapped file; a scalar has an empty shape. The bytes need not be aligned.
struct Tensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  size_t file = 0;  // index among the files of its archive

  int64_t elements() const { return static_cast<int64_t>(bytes.size()) / dtype_bytes(dtype); }
};

// "[4, 16]"
std::string shape_text(std::span<const int64_t> shape);

// The tensors of one file or of all shards of a checkpoint, mapped, never loaded whole. Opening
// checks everything: sizes, ranges, overlaps and names; every error names the file, the tensor and
// what is wrong with it.
class Safetensors {
 public:
  static Result<Safetensors> open(const std::string& path);
  // model.safetensors of a directory, or the shards that its model.safetensors.index.json lists.
  static Result<Safetensors> open_directory(const std::string& directory);

  const std::vector<Tensor>& tensors() const { return tensors_; }  // in the order of the data
  const Tensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // Whether all files are as they were when they were opened.
  Status unchanged() const;

  const MappedFile& file_of(const Tensor& tensor) const { return files_[tensor.file]; }

  // `file: tensor "name"`, to begin a message with.
  std::string where(const Tensor& tensor) const;

  // Converts to f32 from any type, to i64 from integers and booleans; `out` must hold exactly the
  // tensor's elements.
  Status read(const Tensor& tensor, std::span<float> out) const;
  Status read(const Tensor& tensor, std::span<int64_t> out) const;

  // Elements [first, first + out.size()), whose part of the mapping is then released
  // (mapped_file.h): a checkpoint larger than memory can be gone through. On any thread.
  void read_once(const Tensor& tensor, int64_t first, std::span<float> out) const;

 private:
  Status add_file(const std::string& path);

  std::vector<MappedFile> files_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;

  int64_t bytes() const;
};

// Writes one file as a stream: the specifications first, then the elements of one tensor after the
// other in that order, in pieces of any size. A file that was not finished is removed.
class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const std::string& path, std::vector<TensorSpec> specs,
                                          const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(SafetensorsWriter&& other) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&& other) = delete;

  Status append(std::span<const float> values);    // into f32 or bf16 (rounded to nearest even)
  Status append(std::span<const int64_t> values);  // into i64
  Status append(std::span<const int32_t> values);  // into i32
  Status append(std::span<const uint8_t> values);  // into u8
  // Any part of the current tensor as it lies in the file.
  Status append_bytes(std::span<const std::byte> bytes);
  Status finish();  // syncs and closes

 private:
  SafetensorsWriter() = default;
  DType current_dtype() const;

  std::string path_;
  int file_ = -1;
  std::vector<TensorSpec> specs_;
  size_t current_ = 0;     // the tensor that the next bytes belong to
  int64_t remaining_ = 0;  // its bytes still to come
};

}  // namespace unmask
