#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/bf16.h"
#include "unmask/base/json_text.h"
#include "unmask/base/posix.h"
#include "unmask/checkpoint/safetensors.h"

namespace unmask {
namespace {

using nlohmann::json;

// Data begins on a page, so that a mapped file can be read in place by any instruction.
constexpr size_t kAlignment = 4096;

std::string make_header(const std::vector<TensorSpec>& specs,
                        const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    UNMASK_CHECK(!header.contains(spec.name));
    header[spec.name] = {{"dtype", dtype_name(spec.dtype)},
                         {"shape", spec.shape},
                         {"data_offsets", {offset, offset + spec.bytes()}}};
    offset += spec.bytes();
  }
  const std::string text = to_text(header);
  const uint64_t length = (8 + text.size() + kAlignment - 1) / kAlignment * kAlignment - 8;
  std::string bytes(8 + length, ' ');
  std::memcpy(bytes.data(), &length, 8);
  std::copy(text.begin(), text.end(), bytes.begin() + 8);
  return bytes;
}

Status write_bytes(int file, std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (write_all(file, text) == text.size()) return {};
  return failure("{}: cannot write: {}", path, std::strerror(errno));
}

}  // namespace

int64_t TensorSpec::bytes() const {
  int64_t bytes = dtype_bytes(dtype);
  for (const int64_t n : shape) bytes *= n;
  return bytes;
}

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path, std::vector<TensorSpec> specs,
    const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer;
  writer.file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (writer.file_ < 0) return failure("{}: cannot create: {}", path, std::strerror(errno));
  writer.path_ = path;
  writer.specs_ = std::move(specs);
  const std::string header = make_header(writer.specs_, metadata);
  UNMASK_TRY_STATUS(write_bytes(writer.file_, std::as_bytes(std::span(header)), path));
  if (!writer.specs_.empty()) writer.remaining_ = writer.specs_[0].bytes();
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      specs_(std::move(other.specs_)),
      current_(other.current_),
      remaining_(other.remaining_) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ < 0) return;
  ::close(file_);
  struct stat found {};  // a device or a pipe that was written to stays
  if (::lstat(path_.c_str(), &found) == 0 && (S_ISREG(found.st_mode) || S_ISLNK(found.st_mode))) {
    ::unlink(path_.c_str());
  }
}

DType SafetensorsWriter::current_dtype() const {
  // Tensors without elements end where they begin.
  size_t i = current_;
  while (i + 1 < specs_.size() && (i == current_ ? remaining_ : specs_[i].bytes()) == 0) ++i;
  UNMASK_CHECK(i < specs_.size());
  return specs_[i].dtype;
}

Status SafetensorsWriter::append_bytes(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  while (remaining_ == 0) {
    UNMASK_CHECK(current_ + 1 < specs_.size());
    remaining_ = specs_[++current_].bytes();
  }
  UNMASK_CHECK(static_cast<int64_t>(bytes.size()) <= remaining_);
  remaining_ -= static_cast<int64_t>(bytes.size());
  return write_bytes(file_, bytes, path_);
}

Status SafetensorsWriter::append(std::span<const float> values) {
  if (values.empty()) return {};
  if (current_dtype() == DType::f32) return append_bytes(std::as_bytes(values));
  UNMASK_CHECK(current_dtype() == DType::bf16);
  bf16 rounded[4096];
  for (size_t begin = 0; begin < values.size(); begin += std::size(rounded)) {
    const auto piece = values.subspan(begin, std::min(std::size(rounded), values.size() - begin));
    std::transform(piece.begin(), piece.end(), rounded, [](float value) { return bf16(value); });
    UNMASK_TRY_STATUS(append_bytes(std::as_bytes(std::span(rounded, piece.size()))));
  }
  return {};
}

Status SafetensorsWriter::append(std::span<const int64_t> values) {
  if (values.empty()) return {};
  UNMASK_CHECK(current_dtype() == DType::i64);
  return append_bytes(std::as_bytes(values));
}

Status SafetensorsWriter::append(std::span<const int32_t> values) {
  if (values.empty()) return {};
  UNMASK_CHECK(current_dtype() == DType::i32);
  return append_bytes(std::as_bytes(values));
}

Status SafetensorsWriter::append(std::span<const uint8_t> values) {
  if (values.empty()) return {};
  UNMASK_CHECK(current_dtype() == DType::u8);
  return append_bytes(std::as_bytes(values));
}

Status SafetensorsWriter::finish() {
  UNMASK_CHECK(remaining_ == 0);
  for (size_t i = current_ + 1; i < specs_.size(); ++i) UNMASK_CHECK(specs_[i].bytes() == 0);
  if (fsync(file_) != 0) return failure("{}: cannot sync: {}", path_, std::strerror(errno));
  const int file = std::exchange(file_, -1);
  if (::close(file) != 0) return failure("{}: cannot close: {}", path_, std::strerror(errno));
  return {};
}

}  // namespace unmask
