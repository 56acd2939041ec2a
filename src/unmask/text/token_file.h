#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "unmask/base/mapped_file.h"
#include "unmask/base/result.h"
#include "unmask/base/staged_file.h"
#include "unmask/text/token_stream.h"

namespace unmask {

// Token datasets of Megatron-LM: PREFIX.bin holds the tokens, PREFIX.idx, little-endian,
//   "MMIDIDX\0\0", u64 version 1, u8 type (1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 8 u16), u64 S, u64 D,
//   i32[S] lengths of the sequences in tokens, i64[S] their byte offsets in .bin,
//   i64[D] numbers of the sequences at which documents begin (first 0, last S), then optionally
//   i8[S] modes, which are not used.

// A dataset on disk, mapped. Sequences must follow each other without gaps, as every writer lays
// them out. As a stream its documents are joined with the end token: if those on disk do not end
// with it already, it is put behind each of them.
class TokenFile final : public TokenStream {
 public:
  // `path`: PREFIX, PREFIX.bin or PREFIX.idx. Checks the whole index against the size of .bin.
  // Ids outside [0, vocab_size) are errors when they are read.
  static Result<std::unique_ptr<TokenFile>> open(const std::string& path, int32_t vocab_size,
                                                 int32_t end_token);

  int64_t documents() const { return documents_; }
  int64_t size() const override { return stored_ + (adds_end_ ? documents_ : 0); }
  Status read(int64_t begin, std::span<int32_t> out) const override;

 private:
  TokenFile() = default;
  Status read_index();
  Status find_whether_ends_are_stored();
  int64_t document_begin(int64_t document) const;  // in stored tokens
  Status read_stored(int64_t begin, std::span<int32_t> out) const;

  MappedFile index_;
  MappedFile tokens_;
  int32_t vocab_size_ = 0;
  int32_t end_token_ = 0;
  int type_ = 0;
  int64_t token_bytes_ = 0;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
  int64_t stored_ = 0;
  bool adds_end_ = false;
};

// Writes a dataset document by document, one sequence each, with the end token behind each. The
// files appear under their names in `finish`; without it nothing is left behind. Writers of one
// dataset take turns.
class TokenFileWriter final : public DocumentSink {
 public:
  static Result<std::unique_ptr<TokenFileWriter>> create(const std::string& prefix,
                                                         int32_t vocab_size, int32_t end_token);

  Status append(std::span<const int32_t> tokens) override;
  Status end_document() override;
  Status finish();

  int64_t documents() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t tokens() const { return tokens_; }

 private:
  explicit TokenFileWriter(StagedFile staged) : staged_(std::move(staged)) {}
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  StagedFile staged_;
  std::string prefix_;
  int32_t vocab_size_ = 0;
  int32_t end_token_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
  std::vector<uint16_t> narrow_;  // the tokens of one append as 16 bits
  std::vector<int32_t> lengths_;
  int64_t in_document_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace unmask
