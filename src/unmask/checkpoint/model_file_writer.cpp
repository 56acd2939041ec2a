#include "unmask/checkpoint/model_file_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>
#include <xxhash.h>

#include "unmask/base/arena.h"
#include "unmask/base/bf16.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/parallel.h"
#include "unmask/checkpoint/model_config_json.h"

namespace unmask {
namespace {

// Of the file, made before the next are begun; and what one task reads of a parameter.
constexpr int64_t kBatchBytes = int64_t{8} << 20;
constexpr int64_t kPieceElements = int64_t{1} << 18;

// A part of a parameter on its way to its place in the file.
struct Piece {
  int parameter = 0;
  int64_t first = 0;
  std::optional<QuantizedShape> shape = std::nullopt;  // of its own rows; nullopt: plain
  int64_t elements = 0;
  DType dtype = DType::f32;  // of a plain one
  std::byte* to = nullptr;
  bf16* scales = nullptr;
};

bool becomes_bf16(const Piece& piece) {
  return piece.shape ? piece.shape->format == WeightFormat::bf16 : piece.dtype == DType::bf16;
}

// A weight that is finite, but not any more once it is rounded, is an error that names its place.
Status check_bf16_holds(const ParameterSource& source, const Piece& piece,
                        std::span<const float> values) {
  constexpr float kRoundsToInfinity = 0x1.ffp127f;
  const auto beyond = std::ranges::find_if(
      values, [](float value) { return std::abs(value) >= kRoundsToInfinity; });
  if (beyond == values.end()) return {};
  return failure("{}: {} is beyond the numbers of bf16",
                 source.where(piece.parameter, piece.first + (beyond - values.begin())), *beyond);
}

Status make(const ParameterSource& source, const Piece& piece) {
  Arena& arena = thread_scratch();
  const ArenaScope scope(arena);
  const std::span<float> values(arena.take<float>(piece.elements),
                                static_cast<size_t>(piece.elements));
  UNMASK_TRY_STATUS(source.read_finite(piece.parameter, piece.first, values));
  if (becomes_bf16(piece)) UNMASK_TRY_STATUS(check_bf16_holds(source, piece, values));
  if (piece.shape) {
    quantize(*piece.shape, ConstMatrix(values.data(), piece.shape->rows, piece.shape->cols),
             piece.to, piece.scales);
  } else if (piece.dtype == DType::bf16) {
    std::transform(values.begin(), values.end(), reinterpret_cast<bf16*>(piece.to),
                   [](float value) { return bf16(value); });
  } else {
    std::memcpy(piece.to, values.data(), values.size_bytes());
  }
  return {};
}

// A stretch of the file that lies within one tensor.
struct Batch {
  Buffer bytes;
  int64_t used = 0;
  std::vector<Piece> pieces;
  bool ends_tensor = false;
};

class FileStream {
 public:
  FileStream(const ParameterSource& source, SafetensorsWriter writer, int64_t batch_bytes,
             const ReportBytes& report)
      : source_(source),
        writer_(std::move(writer)),
        report_(report),
        capacity_(batch_bytes),
        hash_(XXH3_createState(), &XXH3_freeState) {
    for (Batch* batch : {&made_, &next_}) batch->bytes = Buffer(static_cast<size_t>(capacity_));
    XXH3_64bits_reset(hash_.get());
  }

  Status append(const PackedTensor& tensor) {
    for (int64_t record = 0; record < tensor.records; ++record) {
      for (const PackedTensor::Part& part : tensor.parts) {
        if (part.shape) {
          UNMASK_TRY_STATUS(
              packed(part.parameter, record * part.shape->rows * part.shape->cols, *part.shape));
        } else {
          UNMASK_TRY_STATUS(plain(part.parameter, tensor.spec.dtype));
        }
      }
    }
    next_.ends_tensor = true;
    return make_next();
  }

  Status finish() {
    UNMASK_TRY_STATUS(write(made_));
    UNMASK_TRY_STATUS(writer_.append_bytes(std::as_bytes(std::span(checksums_))));
    return writer_.finish();
  }

 private:
  // A matrix, whose first element is `first` of its parameter: tiles, then scales.
  Status packed(int parameter, int64_t first, const QuantizedShape& shape) {
    if (shape.bytes() > capacity_) return large(parameter, first, shape);
    UNMASK_TRY_STATUS(make_room(shape.bytes()));
    std::byte* const tiles = take(shape.bytes());
    cut(parameter, first, shape, 0, shape.tiles(), tiles,
        reinterpret_cast<bf16*>(tiles + shape.data_bytes()));
    return {};
  }

  // One that does not fit a batch. Its scales wait until all tiles are made.
  Status large(int parameter, int64_t first, const QuantizedShape& shape) {
    const Buffer scales(static_cast<size_t>(shape.scale_count()) * sizeof(bf16));
    const int64_t at_once = capacity_ / shape.tile_bytes();
    for (int64_t begin = 0; begin < shape.tiles(); begin += at_once) {
      UNMASK_TRY_STATUS(make_room(capacity_));
      const int64_t end = std::min(shape.tiles(), begin + at_once);
      cut(parameter, first, shape, begin, end, take((end - begin) * shape.tile_bytes()),
          scales.as<bf16>());
    }
    for (int64_t begin = 0; begin < std::ssize(bytes_of(scales)); begin += capacity_) {
      UNMASK_TRY_STATUS(make_room(capacity_));
      const auto part = bytes_of(scales).subspan(static_cast<size_t>(begin));
      const auto count = std::min(part.size(), static_cast<size_t>(capacity_));
      std::memcpy(take(static_cast<int64_t>(count)), part.data(), count);
    }
    return {};
  }

  // Tiles [begin, end) of a matrix, the first of them to `tiles`; `scales` are the matrix's.
  void cut(int parameter, int64_t first, const QuantizedShape& shape, int64_t begin, int64_t end,
           std::byte* tiles, bf16* scales) {
    const int64_t step =
        std::max<int64_t>(1, kPieceElements / (QuantizedShape::kTile * shape.cols));
    for (int64_t tile = begin; tile < end; tile += step) {
      const int64_t row = tile * QuantizedShape::kTile;
      QuantizedShape rows = shape;
      rows.rows = std::min({step, end - tile}) * QuantizedShape::kTile;
      rows.rows = std::min(rows.rows, shape.rows - row);
      next_.pieces.push_back({.parameter = parameter,
                              .first = first + row * shape.cols,
                              .shape = rows,
                              .elements = rows.rows * rows.cols,
                              .to = tiles + (tile - begin) * shape.tile_bytes(),
                              .scales = scales + tile * shape.tile_scales()});
    }
  }

  Status plain(int parameter, DType dtype) {
    const int64_t size = source_.info(parameter).size();
    for (int64_t first = 0; first < size; first += kPieceElements) {
      const int64_t count = std::min(kPieceElements, size - first);
      const int64_t bytes = count * dtype_bytes(dtype);
      UNMASK_TRY_STATUS(make_room(bytes));
      next_.pieces.push_back({.parameter = parameter,
                              .first = first,
                              .elements = count,
                              .dtype = dtype,
                              .to = take(bytes)});
    }
    return {};
  }

  Status make_room(int64_t bytes) {
    if (next_.used + bytes <= capacity_) return {};
    return make_next();
  }
  std::byte* take(int64_t bytes) {
    std::byte* const place = next_.bytes.data() + next_.used;
    next_.used += bytes;
    return place;
  }

  // Makes the next batch while the one before it is written.
  Status make_next() {
    std::vector<Status> done(next_.pieces.size() + 1);
    parallel_for(std::ssize(done), [&](int64_t i) {
      done[static_cast<size_t>(i)] =
          i == 0 ? write(made_) : make(source_, next_.pieces[static_cast<size_t>(i) - 1]);
    });
    for (Status& status : done) UNMASK_TRY_STATUS(std::move(status));
    std::swap(made_, next_);
    next_.used = 0;
    next_.pieces.clear();
    next_.ends_tensor = false;
    return {};
  }

  Status write(const Batch& batch) {
    if (batch.used == 0) return {};
    const auto bytes = bytes_of(batch.bytes).first(static_cast<size_t>(batch.used));
    XXH3_64bits_update(hash_.get(), bytes.data(), bytes.size());
    if (batch.ends_tensor) {
      checksums_.push_back(XXH3_64bits_digest(hash_.get()));
      XXH3_64bits_reset(hash_.get());
    }
    UNMASK_TRY_STATUS(writer_.append_bytes(bytes));
    written_ += batch.used;
    return report_ ? report_(written_) : Status();
  }

  static std::span<const std::byte> bytes_of(const Buffer& buffer) {
    return {buffer.data(), buffer.size()};
  }

  const ParameterSource& source_;
  SafetensorsWriter writer_;
  const ReportBytes& report_;
  const int64_t capacity_;
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash_;  // of the tensor so far
  std::vector<uint64_t> checksums_;
  Batch made_;  // waits to be written
  Batch next_;
  int64_t written_ = 0;
};

// At least one tile of the widest matrix.
int64_t batch_bytes(const std::vector<PackedTensor>& tensors) {
  int64_t bytes = kBatchBytes;
  for (const PackedTensor& tensor : tensors) {
    for (const PackedTensor::Part& part : tensor.parts) {
      if (part.shape) bytes = std::max(bytes, part.shape->tile_bytes());
    }
  }
  return bytes;
}

}  // namespace

Status write_model_file(const std::string& directory, const ParameterSource& source,
                        const PackedFormat& format, const ReportBytes& report) {
  const auto tensors = packed_tensors(source.config(), source.layout(), format);
  std::vector<TensorSpec> specs;
  for (const PackedTensor& tensor : tensors) specs.push_back(tensor.spec);
  specs.push_back({kChecksums, DType::u64, {std::ssize(tensors)}});

  const std::filesystem::path folder(directory);
  UNMASK_TRY(auto writer, SafetensorsWriter::create((folder / kPackedWeights).string(),
                                                    std::move(specs), packed_metadata(format)));
  FileStream stream(source, std::move(writer), batch_bytes(tensors), report);
  for (const PackedTensor& tensor : tensors) UNMASK_TRY_STATUS(stream.append(tensor));
  UNMASK_TRY_STATUS(stream.finish());
  UNMASK_TRY_STATUS(source.unchanged());
  const std::string text = to_text(model_config_to_json(source.config(), DType::bf16), 2) + "\n";
  return write_file_atomically((folder / "config.json").string(), text);
}

}  // namespace unmask
