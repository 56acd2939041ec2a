#include "unmask/text/token_stream.h"

#include <algorithm>
#include <utility>

namespace unmask {
namespace {

class JoinedStreams final : public TokenStream {
 public:
  explicit JoinedStreams(std::vector<std::unique_ptr<TokenStream>> parts)
      : parts_(std::move(parts)) {
    for (const auto& part : parts_) ends_.push_back(size() + part->size());
  }
  int64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }

  Status read(int64_t begin, std::span<int32_t> out) const override {
    UNMASK_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= size());
    auto part =
        static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
    while (!out.empty()) {
      const auto count = std::min(static_cast<size_t>(ends_[part] - begin), out.size());
      const int64_t part_begin = ends_[part] - parts_[part]->size();
      UNMASK_TRY_STATUS(parts_[part]->read(begin - part_begin, out.first(count)));
      out = out.subspan(count);
      begin += static_cast<int64_t>(count);
      ++part;
    }
    return {};
  }

 private:
  std::vector<std::unique_ptr<TokenStream>> parts_;
  std::vector<int64_t> ends_;  // cumulative sizes
};

}  // namespace

Status TokenBuffer::read(int64_t begin, std::span<int32_t> out) const {
  UNMASK_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= size());
  std::copy_n(tokens_.begin() + begin, out.size(), out.begin());
  return {};
}

Status TokenBuffer::append(std::span<const int32_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  return {};
}

Status TokenBuffer::end_document() {
  tokens_.push_back(end_token_);
  return {};
}

std::unique_ptr<TokenStream> join_streams(std::vector<std::unique_ptr<TokenStream>> parts) {
  return std::make_unique<JoinedStreams>(std::move(parts));
}

}  // namespace unmask
