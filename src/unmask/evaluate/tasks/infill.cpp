#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <vector>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

constexpr std::string_view kGap = "_";

using Words = std::vector<std::string>;

std::string joined(const Words& words) { return fmt::format("{}", fmt::join(words, " ")); }

// The sentence with the words at `removed` gone, and those words in their order.
TaskExample with_gaps(const Words& sentence, std::vector<size_t> removed) {
  std::ranges::sort(removed);
  Words shown = sentence, gone;
  for (const size_t at : removed) gone.push_back(std::exchange(shown[at], std::string(kGap)));
  return {.prompt = joined(shown), .answer = joined(gone), .identity = joined(sentence)};
}

constexpr std::string_view kNames[] = {"anna",  "ben", "clara", "david", "emma", "felix", "greta",
                                       "henry", "ida", "jonas", "lena",  "max",  "nora",  "otto"};
constexpr std::string_view kKinds[] = {"red", "blue",  "green", "old",  "new",
                                       "big", "small", "heavy", "soft", "round"};
constexpr std::string_view kThings[] = {"ball", "book", "box",  "coat", "cup",  "drum",
                                        "hat",  "key",  "lamp", "map",  "rope", "spoon"};

// Sentences that say everything twice, so that what is removed can be found.
class RepeatedSentences final : public Task {
 public:
  explicit RepeatedSentences(int32_t gaps) : gaps_(gaps) {}

  TaskExample draw(TaskRandom& random) const override {
    const std::string_view giver = random.pick(kNames);
    std::string_view taker = giver;
    while (taker == giver) taker = random.pick(kNames);
    const std::string_view kind = random.pick(kKinds), thing = random.pick(kThings);
    Words sentence;
    for (const std::string_view word :
         {giver, std::string_view("gave"), std::string_view("the"), kind, thing,
          std::string_view("to"), taker, std::string_view("so"), taker, std::string_view("has"),
          std::string_view("the"), kind, thing, std::string_view("of"), giver}) {
      sentence.emplace_back(word);
    }
    std::vector<std::array<size_t, 2>> twice = {{0, 14}, {3, 11}, {4, 12}, {6, 8}};
    random.shuffle(std::span(twice));
    std::vector<size_t> removed;
    for (int32_t i = 0; i < gaps_; ++i) removed.push_back(twice[i][random.between(0, 1)]);
    return with_gaps(sentence, removed);
  }

  static constexpr int32_t kMostGaps = 4;

 private:
  int32_t gaps_;
};

// Sentences of a text: words without the signs around them.
class TextSentences final : public Task {
 public:
  TextSentences(std::vector<Words> sentences, int32_t gaps)
      : sentences_(std::move(sentences)), gaps_(gaps) {}

  TaskExample draw(TaskRandom& random) const override {
    const Words& sentence = sentences_[random.between(0, std::ssize(sentences_) - 1)];
    std::vector<size_t> order(sentence.size());
    std::iota(order.begin(), order.end(), size_t{0});
    random.shuffle(std::span(order));
    order.resize(static_cast<size_t>(gaps_));
    return with_gaps(sentence, order);
  }

 private:
  std::vector<Words> sentences_;
  int32_t gaps_;
};

// The parts of a word that is in a language of any alphabet: all but ASCII signs.
bool belongs_to_word(char c) {
  return static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0;
}

std::vector<Words> sentences_of(std::string_view text, int32_t gaps, int32_t longest) {
  std::vector<Words> sentences;
  Words sentence;
  const auto finish_sentence = [&] {
    const auto size = std::ssize(sentence);
    if (size > 2 * gaps && size <= longest) sentences.push_back(sentence);
    sentence.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \t\r\n"), text.size());
    const std::string_view word = text.substr(0, end);
    const auto first = std::ranges::find_if(word, belongs_to_word);
    if (first != word.end()) {
      const auto last = std::find_if(word.rbegin(), word.rend(), belongs_to_word).base();
      sentence.emplace_back(first, last);
    }
    if (!word.empty() && word.find_last_of(".!?") != std::string_view::npos) finish_sentence();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  finish_sentence();
  return sentences;
}

}  // namespace

Result<std::unique_ptr<Task>> make_infill(const nlohmann::json& settings) {
  int32_t gaps = 2, longest = 16;
  std::string path;
  Fields fields(settings, "infill");
  fields.read("text", path);
  fields.read_between("words", longest, 3, 1000);
  fields.read_between("gaps", gaps, 1, path.empty() ? RepeatedSentences::kMostGaps : longest / 2);
  UNMASK_TRY_STATUS(fields.finish());
  if (path.empty()) return std::unique_ptr<Task>(std::make_unique<RepeatedSentences>(gaps));
  UNMASK_TRY(const std::string text, read_file(path));
  std::vector<Words> sentences = sentences_of(text, gaps, longest);
  if (sentences.empty()) {
    return failure("{}: expected sentences of {} to {} words, found none", path, 2 * gaps + 1,
                   longest);
  }
  return std::unique_ptr<Task>(std::make_unique<TextSentences>(std::move(sentences), gaps));
}

}  // namespace unmask
