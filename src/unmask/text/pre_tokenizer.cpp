#include "unmask/text/pre_tokenizer.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/utf8.h"

namespace unmask {
namespace {

// Radford et al., "Language Models are Unsupervised Multitask Learners" (2019): the words of GPT-2.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

Result<PreTokenizer> PreTokenizer::parse(const nlohmann::json& description) {
  PreTokenizer result;
  UNMASK_TRY_STATUS(result.add(description));
  if (!result.complete_) {
    return failure("pre_tokenizer without ByteLevel: only byte-level BPE is supported");
  }
  return result;
}

Status PreTokenizer::add(const nlohmann::json& description) {
  if (!description.is_object()) return failure("pre_tokenizer: expected ByteLevel, found none");
  const std::string type = description.value("type", "");
  if (complete_) return failure("pre_tokenizer {} behind ByteLevel is not supported", type);
  if (type == "Sequence") {
    for (const auto& part : description.at("pretokenizers")) UNMASK_TRY_STATUS(add(part));
  } else if (type == "ByteLevel") {
    adds_prefix_space_ = description.value("add_prefix_space", true);
    if (adds_prefix_space_ && !steps_.empty()) {
      return failure(
          "pre_tokenizer ByteLevel with add_prefix_space behind others is not supported");
    }
    if (description.value("use_regex", true)) {
      UNMASK_TRY(Regex regex, Regex::compile(kGpt2));
      steps_.push_back({std::move(regex)});
    }
    complete_ = true;
  } else if (type == "Split") {
    const auto& pattern = description.at("pattern");
    const std::string behavior = description.at("behavior").get<std::string>();
    const bool invert = description.value("invert", false);
    if (behavior != "Isolated" && !(behavior == "Removed" && invert)) {
      return failure("pre_tokenizer Split with behavior {}{} is not supported", behavior,
                     invert ? " and invert" : "");
    }
    UNMASK_TRY(Regex regex, pattern.contains("Regex")
                                ? Regex::compile(pattern.at("Regex").get<std::string>())
                                : Regex::compile_literal(pattern.at("String").get<std::string>()));
    steps_.push_back({std::move(regex), behavior == "Removed"});
  } else if (type == "Digits") {
    UNMASK_TRY(
        Regex regex,
        Regex::compile(description.value("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)"));
    steps_.push_back({std::move(regex)});
  } else {
    return failure("pre_tokenizer {} is not supported", type);
  }
  return {};
}

Status PreTokenizer::apply(const Step& step, std::string_view text, MatchMemory& memory,
                           std::vector<std::string_view>& words) const {
  size_t begin = 0;  // of what is not yet given out
  size_t from = 0;
  while (from < text.size()) {
    UNMASK_TRY(const Regex::Match match, step.regex.find(text, from, memory));
    if (!match.found) break;
    if (match.end == match.begin) {  // an empty match cuts nothing
      from = match.end + 1;
      while (from < text.size() && continues_character(text[from])) ++from;
      continue;
    }
    if (match.begin > begin && !step.drops_rest) {
      words.push_back(text.substr(begin, match.begin - begin));
    }
    words.push_back(text.substr(match.begin, match.end - match.begin));
    begin = from = match.end;
  }
  if (begin < text.size() && !step.drops_rest) words.push_back(text.substr(begin));
  return {};
}

Status PreTokenizer::split(std::string_view text, MatchMemory& memory,
                           std::vector<std::string_view>& words) const {
  words.clear();
  if (steps_.empty()) {
    if (!text.empty()) words.push_back(text);
    return {};
  }
  UNMASK_TRY_STATUS(apply(steps_.front(), text, memory, words));
  std::vector<std::string_view> coarse;
  for (size_t i = 1; i < steps_.size(); ++i) {
    coarse.swap(words);
    words.clear();
    for (const std::string_view word : coarse) {
      UNMASK_TRY_STATUS(apply(steps_[i], word, memory, words));
    }
  }
  return {};
}

}  // namespace unmask
