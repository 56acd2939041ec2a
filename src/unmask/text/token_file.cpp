#include "unmask/text/token_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "unmask/base/files.h"
#include "unmask/base/posix.h"

namespace unmask {
namespace {

constexpr char kMagic[9] = {'M', 'M', 'I', 'D', 'I', 'D', 'X', 0, 0};
constexpr int64_t kHeader = 34;
constexpr uint8_t kInt32 = 4;
constexpr uint8_t kUint16 = 8;
constexpr int32_t kWideVocabulary = 65500;  // Megatron's limit of 16-bit tokens

template <class T>
T load(const MappedFile& file, int64_t offset) {
  T value;
  std::memcpy(&value, file.bytes().data() + offset, sizeof value);
  return value;
}

// 0 for types that hold no token ids.
int64_t bytes_of_type(int type) {
  switch (type) {
    case 1:
    case 2:
      return 1;
    case 3:
    case 8:
      return 2;
    case 4:
      return 4;
    case 5:
      return 8;
    default:
      return 0;
  }
}

int64_t load_token(const std::byte* at, int type) {
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return static_cast<int64_t>(value);
  };
  switch (type) {
    case 1:
      return as(uint8_t{});
    case 2:
      return as(int8_t{});
    case 3:
      return as(int16_t{});
    case 4:
      return as(int32_t{});
    case 5:
      return as(int64_t{});
    default:
      return as(uint16_t{});
  }
}

}  // namespace

Result<std::unique_ptr<TokenFile>> TokenFile::open(const std::string& path, int32_t vocab_size,
                                                   int32_t end_token) {
  std::string prefix = path;
  if (prefix.ends_with(".bin") || prefix.ends_with(".idx")) prefix.resize(prefix.size() - 4);
  std::unique_ptr<TokenFile> file(new TokenFile);
  UNMASK_TRY(file->index_, MappedFile::open(prefix + ".idx"));
  UNMASK_TRY(file->tokens_, MappedFile::open(prefix + ".bin"));
  file->vocab_size_ = vocab_size;
  file->end_token_ = end_token;
  UNMASK_TRY_STATUS(file->read_index());
  UNMASK_TRY_STATUS(file->find_whether_ends_are_stored());
  return file;
}

Status TokenFile::read_index() {
  const std::string& path = index_.path();
  const auto index_bytes = static_cast<int64_t>(index_.bytes().size());
  const auto token_bytes = static_cast<int64_t>(tokens_.bytes().size());
  if (index_bytes < kHeader || std::memcmp(index_.bytes().data(), kMagic, sizeof kMagic) != 0) {
    return failure("{}: expected the 34-byte header of a Megatron index, found {}", path,
                   index_bytes < kHeader ? "a shorter file" : "another beginning");
  }
  if (const auto version = load<uint64_t>(index_, 9); version != 1) {
    return failure("{}: expected version 1, found {}", path, version);
  }
  type_ = load<uint8_t>(index_, 17);
  token_bytes_ = bytes_of_type(type_);
  if (token_bytes_ == 0) return failure("{}: type {} is no integer type", path, type_);

  const auto sequences = load<uint64_t>(index_, 18);
  const auto bounds = load<uint64_t>(index_, 26);
  const auto limit = static_cast<uint64_t>(index_bytes);  // each count needs at least as many bytes
  const int64_t expected = sequences <= limit && bounds <= limit
                               ? kHeader + static_cast<int64_t>(12 * sequences + 8 * bounds)
                               : -1;
  if (index_bytes != expected && index_bytes != expected + static_cast<int64_t>(sequences)) {
    return failure("{}: {} sequences and {} document bounds do not fit a file of {} bytes", path,
                   sequences, bounds, index_bytes);
  }
  if (bounds == 0) return failure("{}: expected document bounds, found none", path);
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(bounds) - 1;

  int64_t offset = 0;
  for (int64_t i = 0; i < sequences_; ++i) {
    const auto length = load<int32_t>(index_, kHeader + 4 * i);
    const auto found = load<int64_t>(index_, kHeader + 4 * sequences_ + 8 * i);
    if (length < 0 || found != offset) {
      return failure("{}: sequence {} has length {} at byte {}, expected it at byte {}", path, i,
                     length, found, offset);
    }
    offset += length * token_bytes_;
  }
  if (offset != token_bytes) {
    return failure("{}: expected {} bytes as its index says, found {}", tokens_.path(), offset,
                   token_bytes);
  }
  stored_ = offset / token_bytes_;

  const int64_t bounds_at = kHeader + 12 * sequences_;
  int64_t previous = 0;
  for (int64_t d = 0; d <= documents_; ++d) {
    const auto bound = load<int64_t>(index_, bounds_at + 8 * d);
    if (bound < previous || (d == 0 && bound != 0) || (d == documents_ && bound != sequences_)) {
      return failure("{}: document bound {} is {}; bounds must rise from 0 to {}", path, d, bound,
                     sequences_);
    }
    previous = bound;
  }
  return {};
}

// Looks at some documents only: a dataset was written with end tokens or without.
Status TokenFile::find_whether_ends_are_stored() {
  constexpr int64_t kSamples = 64;
  for (int64_t i = 0; i < std::min(kSamples, documents_); ++i) {
    const int64_t document = documents_ <= kSamples ? i : i * (documents_ / kSamples);
    const int64_t end = document_begin(document + 1);
    if (end == document_begin(document)) continue;
    int32_t last = 0;
    UNMASK_TRY_STATUS(read_stored(end - 1, {&last, 1}));
    adds_end_ = adds_end_ || last != end_token_;
  }
  return {};
}

int64_t TokenFile::document_begin(int64_t document) const {
  const auto sequence = load<int64_t>(index_, kHeader + 12 * sequences_ + 8 * document);
  if (sequence == sequences_) return stored_;
  return load<int64_t>(index_, kHeader + 4 * sequences_ + 8 * sequence) / token_bytes_;
}

Status TokenFile::read_stored(int64_t begin, std::span<int32_t> out) const {
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t position = begin + static_cast<int64_t>(i);
    const int64_t token = load_token(tokens_.bytes().data() + position * token_bytes_, type_);
    if (token < 0 || token >= vocab_size_) {
      return failure(
          "{}: token {} is {}, outside the vocabulary of {}; was it written with another "
          "tokenizer?",
          tokens_.path(), position, token, vocab_size_);
    }
    out[i] = static_cast<int32_t>(token);
  }
  return {};
}

Status TokenFile::read(int64_t begin, std::span<int32_t> out) const {
  UNMASK_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= size());
  if (!adds_end_) return read_stored(begin, out);
  // In the stream, document d begins d end tokens later than on disk.
  int64_t low = 0;
  for (int64_t high = documents_; high - low > 1;) {
    const int64_t middle = (low + high) / 2;
    (document_begin(middle) + middle <= begin ? low : high) = middle;
  }
  for (int64_t document = low; !out.empty(); ++document) {
    const int64_t from = begin - document;  // on disk
    const int64_t end = document_begin(document + 1);
    const auto count = std::min(static_cast<size_t>(end - from), out.size());
    UNMASK_TRY_STATUS(read_stored(from, out.first(count)));
    out = out.subspan(count);
    begin += static_cast<int64_t>(count);
    if (out.empty()) break;
    out[0] = end_token_;
    out = out.subspan(1);
    ++begin;
  }
  return {};
}

Result<std::unique_ptr<TokenFileWriter>> TokenFileWriter::create(const std::string& prefix,
                                                                 int32_t vocab_size,
                                                                 int32_t end_token) {
  UNMASK_TRY(StagedFile staged, StagedFile::create(prefix + ".bin"));
  std::unique_ptr<TokenFileWriter> writer(new TokenFileWriter(std::move(staged)));
  writer->prefix_ = prefix;
  writer->vocab_size_ = vocab_size;
  writer->end_token_ = end_token;
  const std::string& path = writer->staged_.place();
  writer->file_.reset(std::fopen(path.c_str(), "wb"));
  if (!writer->file_) return failure("{}: cannot create: {}", path, std::strerror(errno));
  return writer;
}

Status TokenFileWriter::append(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) UNMASK_CHECK(token >= 0 && token < vocab_size_);
  in_document_ += static_cast<int64_t>(tokens.size());
  if (in_document_ >= std::numeric_limits<int32_t>::max()) {
    return failure("{}: a document of more than 2^31 tokens; cut the text into files", prefix_);
  }
  size_t written = 0;
  if (vocab_size_ < kWideVocabulary) {
    narrow_.assign(tokens.begin(), tokens.end());
    written = std::fwrite(narrow_.data(), sizeof(uint16_t), narrow_.size(), file_.get());
  } else {
    written = std::fwrite(tokens.data(), sizeof(int32_t), tokens.size(), file_.get());
  }
  if (written != tokens.size()) {
    return failure("{}.bin: cannot write: {}", prefix_, std::strerror(errno));
  }
  tokens_ += static_cast<int64_t>(tokens.size());
  return {};
}

Status TokenFileWriter::end_document() {
  UNMASK_TRY_STATUS(append({&end_token_, 1}));
  lengths_.push_back(static_cast<int32_t>(in_document_));
  in_document_ = 0;
  return {};
}

Status TokenFileWriter::finish() {
  UNMASK_CHECK(in_document_ == 0);
  if (std::fflush(file_.get()) != 0) {
    return failure("{}.bin: cannot write: {}", prefix_, std::strerror(errno));
  }
  std::string index(kMagic, sizeof kMagic);
  const auto put = [&](auto value) {
    index.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const bool narrow = vocab_size_ < kWideVocabulary;
  put(uint64_t{1});
  put(narrow ? kUint16 : kInt32);
  put(static_cast<uint64_t>(lengths_.size()));
  put(static_cast<uint64_t>(lengths_.size()) + 1);
  for (const int32_t length : lengths_) put(length);
  int64_t offset = 0;
  for (const int32_t length : lengths_) {
    put(offset);
    offset += int64_t{length} * (narrow ? 2 : 4);
  }
  for (int64_t bound = 0; bound <= documents(); ++bound) put(bound);

  UNMASK_TRY(StagedFile staged_index, StagedFile::create(prefix_ + ".idx"));
  UNMASK_TRY_STATUS(replace_tail(staged_index.place(), 0, index));
  // An old index is removed first: a crash leaves no index, never one for other tokens.
  std::remove(followed(prefix_ + ".idx").c_str());
  UNMASK_TRY_STATUS(staged_.commit());
  return staged_index.commit();
}

}  // namespace unmask
