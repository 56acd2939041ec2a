#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "unmask/base/result.h"
#include "unmask/text/regex.h"

namespace unmask {

// The `pre_tokenizer` of a byte-level tokenizer.json: cuts a text into words that are merged on
// their own. Understands ByteLevel, Split (Isolated; Removed with invert), Digits and a Sequence of
// those with ByteLevel last.
class PreTokenizer {
 public:
  static Result<PreTokenizer> parse(const nlohmann::json& description);

  // A space is put in front of a text that does not begin with one.
  bool adds_prefix_space() const { return adds_prefix_space_; }

  // The words of a text in order, as views into it; replaces `words`.
  Status split(std::string_view text, MatchMemory& memory,
               std::vector<std::string_view>& words) const;

 private:
  struct Step {
    Regex regex;
    bool drops_rest = false;  // what lies between the matches
  };
  Status add(const nlohmann::json& description);
  Status apply(const Step& step, std::string_view text, MatchMemory& memory,
               std::vector<std::string_view>& words) const;

  std::vector<Step> steps_;
  bool adds_prefix_space_ = false;
  bool complete_ = false;  // ByteLevel was seen
};

}  // namespace unmask
