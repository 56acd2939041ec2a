#include "unmask/diffusion/canvas.h"

#include <algorithm>
#include <functional>

#include "unmask/base/check.h"

namespace unmask {

Canvas Canvas::continuation(std::span<const int32_t> prompt, int32_t length, int32_t mask_token) {
  UNMASK_CHECK(length >= 0);
  Canvas canvas;
  canvas.tokens_.assign(prompt.begin(), prompt.end());
  canvas.tokens_.resize(prompt.size() + static_cast<size_t>(length), mask_token);
  canvas.given_.assign(canvas.tokens_.size(), 0);
  std::fill_n(canvas.given_.begin(), prompt.size(), uint8_t{1});
  canvas.masked_.assign(canvas.tokens_.size(), 1);
  std::fill_n(canvas.masked_.begin(), prompt.size(), uint8_t{0});
  return canvas;
}

Canvas Canvas::infill(std::span<const int32_t> tokens, std::span<const uint8_t> masked,
                      int32_t mask_token) {
  UNMASK_CHECK(tokens.size() == masked.size());
  Canvas canvas;
  canvas.tokens_.assign(tokens.begin(), tokens.end());
  canvas.masked_.assign(masked.begin(), masked.end());
  canvas.given_.resize(masked.size());
  for (size_t i = 0; i < masked.size(); ++i) {
    canvas.given_[i] = masked[i] ? 0 : 1;
    if (masked[i]) canvas.tokens_[i] = mask_token;
  }
  return canvas;
}

bool Canvas::is_continuation() const {
  return std::ranges::is_sorted(given_, std::ranges::greater());
}

int32_t Canvas::prompt_length() const {
  return static_cast<int32_t>(std::ranges::find(given_, 0) - given_.begin());
}

int32_t Canvas::first_masked() const {
  return static_cast<int32_t>(std::ranges::find(masked_, 1) - masked_.begin());
}

std::span<const int32_t> Canvas::written() const {
  const int32_t prompt = prompt_length();
  return tokens().subspan(prompt, first_masked() - prompt);
}

int32_t Canvas::masked_count(int32_t begin, int32_t end) const {
  return static_cast<int32_t>(std::count(masked_.begin() + begin, masked_.begin() + end, 1));
}

float Canvas::mask_ratio() const {
  if (size() == 0) return 0.0f;
  return static_cast<float>(masked_count()) / static_cast<float>(size());
}

void Canvas::commit(int32_t position, int32_t token) {
  UNMASK_CHECK(position >= 0 && position < size() && masked_[position] == 1);
  tokens_[position] = token;
  masked_[position] = 0;
}

void Canvas::replace(int32_t position, int32_t token) {
  UNMASK_CHECK(position >= 0 && position < size() && !masked_[position] && !given_[position]);
  tokens_[position] = token;
}

void Canvas::mask_again(int32_t position, int32_t mask_token) {
  replace(position, mask_token);
  masked_[position] = 1;
}

}  // namespace unmask
