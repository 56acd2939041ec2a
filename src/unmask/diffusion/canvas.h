#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace unmask {

// The text being decoded. Which positions are still masked is said by a bitmap, never by the
// token: a prompt may contain the mask token itself.
class Canvas {
 public:
  Canvas() = default;

  // A prompt, and `length` masked positions behind it.
  static Canvas continuation(std::span<const int32_t> prompt, int32_t length, int32_t mask_token);
  // Given text with gaps: masked[i] = 1 where position i is to be filled in.
  static Canvas infill(std::span<const int32_t> tokens, std::span<const uint8_t> masked,
                       int32_t mask_token);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  std::span<const int32_t> tokens() const { return tokens_; }  // mask token where masked
  std::span<const uint8_t> masked() const { return masked_; }  // 1 = not decided yet
  std::span<const uint8_t> given() const { return given_; }    // 1 = part of the prompt

  // Whether nothing is given behind the first position that is not: a text that may end early.
  bool is_continuation() const;
  // Of a continuation: tokens of its prompt, all up to the first position that is not given; and
  // what is written behind it, up to the first masked position.
  int32_t prompt_length() const;
  std::span<const int32_t> written() const;
  int32_t first_masked() const;  // size() when there is none

  int32_t masked_count() const { return masked_count(0, size()); }
  int32_t masked_count(int32_t begin, int32_t end) const;
  float mask_ratio() const;

  // The position must be masked: what is committed stays.
  void commit(int32_t position, int32_t token);
  // The position must be written: neither given nor masked.
  void replace(int32_t position, int32_t token);
  // Likewise.
  void mask_again(int32_t position, int32_t mask_token);

 private:
  std::vector<int32_t> tokens_;
  std::vector<uint8_t> masked_;
  std::vector<uint8_t> given_;
};

}  // namespace unmask
