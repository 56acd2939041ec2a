#include "unmask/evaluate/tasks/task.h"

#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n";
constexpr uint64_t kTestShare = 10;  // one in so many

// Draws without an example of the split after which a task is taken to have none.
constexpr int64_t kPatience = 100'000;

// FNV-1a, its bits then mixed (the finalizer of MurmurHash3): alone, its lowest bit is the parity
// of the text's bytes, which is the same for all sudokus. The splits of examples that are on disk
// must never change.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53u;
  return hash ^ (hash >> 33);
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhiteSpace) - begin + 1);
}

std::string_view behind_last(std::string_view text, std::string_view marker) {
  const size_t at = text.rfind(marker);
  return at == std::string_view::npos ? std::string_view()
                                      : trimmed(text.substr(at + marker.size()));
}

std::string_view Task::result(std::string_view answer) const { return trimmed(answer); }

Split split_of(const TaskExample& example) {
  return hash_of(example.identity) % kTestShare == 0 ? Split::test : Split::train;
}

Result<std::vector<TaskExample>> draw_examples(const Task& task, Split split, int64_t count,
                                               uint64_t seed) {
  std::vector<TaskExample> examples;
  int64_t last = 0;
  for (int64_t i = 0; std::ssize(examples) < count; ++i) {
    TaskRandom random(seed, static_cast<uint64_t>(i));
    TaskExample example = task.draw(random);
    if (split_of(example) == split) {
      examples.push_back(std::move(example));
      last = i;
    } else if (i - last > kPatience) {
      return usage_error(
          "expected {} examples for {}, found {}: there are too few of this difficulty, make it "
          "harder",
          count, split == Split::test ? "testing" : "training", examples.size());
    }
  }
  return examples;
}

std::string conversation_lines(std::span<const TaskExample> examples) {
  std::string lines;
  for (const TaskExample& example : examples) {
    const nlohmann::ordered_json line = {{"messages",
                                          {{{"role", "user"}, {"content", example.prompt}},
                                           {{"role", "assistant"}, {"content", example.answer}}}}};
    lines += to_text(line) + "\n";
  }
  return lines;
}

}  // namespace unmask
