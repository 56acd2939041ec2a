#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "unmask/base/result.h"

namespace unmask {

// Documents joined with the end token, addressed by position.
class TokenStream {
 public:
  virtual ~TokenStream() = default;
  virtual int64_t size() const = 0;
  // The tokens [begin, begin + out.size()), inside [0, size()). Fails on ids outside the
  // vocabulary. Thread-safe.
  virtual Status read(int64_t begin, std::span<int32_t> out) const = 0;
};

// Where tokenized documents go.
class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  virtual Status append(std::span<const int32_t> tokens) = 0;
  virtual Status end_document() = 0;
};

// Tokens in memory. Documents are stored with their end token.
class TokenBuffer final : public TokenStream, public DocumentSink {
 public:
  explicit TokenBuffer(int32_t end_token) : end_token_(end_token) {}
  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  Status read(int64_t begin, std::span<int32_t> out) const override;
  Status append(std::span<const int32_t> tokens) override;
  Status end_document() override;

 private:
  int32_t end_token_;
  std::vector<int32_t> tokens_;
};

// One stream after the other.
std::unique_ptr<TokenStream> join_streams(std::vector<std::unique_ptr<TokenStream>> parts);

}  // namespace unmask
