#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unmask/base/progress.h"
#include "unmask/diffusion/generate.h"
#include "unmask/text/tokenizer.h"

namespace unmask::cli {

// Shows a canvas on standard error while it is unmasked: redrawn in place on a terminal, with what
// the last step committed in colour; elsewhere a line for each step.
class Watch {
 public:
  // `tokenizer` may be null: ids are shown then.
  Watch(const Tokenizer* tokenizer, Terminal terminal);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void show(const DenoisingEvent& event);

 private:
  std::vector<std::string> lines(const DenoisingEvent& event) const;
  std::string text(std::span<const int32_t> tokens) const;

  const Tokenizer* tokenizer_;
  Terminal terminal_;
};

}  // namespace unmask::cli
