#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "unmask/base/random.h"
#include "unmask/base/result.h"

namespace unmask {

// A question and the text that answers it.
struct TaskExample {
  std::string prompt;
  std::string answer;
  // What decides whether it is for training or for testing. Examples of which one gives the other
  // away have the same: 3+5 and 5+3, or one sudoku with other holes.
  std::string identity;
};

// The random numbers of one example: functions of (seed, index, numbers drawn before).
class TaskRandom {
 public:
  TaskRandom(uint64_t seed, uint64_t index) : key_{seed, Purpose::synthetic}, index_(index) {}

  // Uniform, both ends included.
  int64_t between(int64_t low, int64_t high) {
    const auto range = static_cast<uint64_t>(high - low + 1);
    return low + static_cast<int64_t>(random_below(key_, range, index_, drawn_++));
  }
  template <class T, size_t n>
  const T& pick(const T (&of)[n]) {
    return of[between(0, static_cast<int64_t>(n) - 1)];
  }
  template <class T>
  void shuffle(std::span<T> values) {
    for (int64_t i = std::ssize(values) - 1; i > 0; --i) {
      std::swap(values[i], values[between(0, i)]);
    }
  }

 private:
  RandomKey key_;
  uint64_t index_;
  uint32_t drawn_ = 0;
};

// A kind of question that can be asked without end and whose answers can be told right from wrong
// exactly.
class Task {
 public:
  virtual ~Task() = default;
  virtual TaskExample draw(TaskRandom& random) const = 0;

  // Whether a text answers the example: the results of both are the same.
  bool is_right(const TaskExample& example, std::string_view text) const {
    return result(text) == result(example.answer);
  }

 protected:
  // What counts of an answer: without white space around it, all.
  virtual std::string_view result(std::string_view answer) const;
};

// Without white space at its ends.
std::string_view trimmed(std::string_view text);
// Behind the last occurrence of `marker`, trimmed; a text without one has no result ("").
std::string_view behind_last(std::string_view text, std::string_view marker);

enum class Split { train, test };

// A tenth of all identities is for testing, as their hash has it: no seed gives an example to both.
Split split_of(const TaskExample& example);

// The first `count` examples of the split among those that the seed draws. In a small space of
// examples some come again. Fails when the task has hardly any for the split.
Result<std::vector<TaskExample>> draw_examples(const Task& task, Split split, int64_t count,
                                               uint64_t seed);

// The examples to train on: JSON lines of conversations (text/conversations.h), the question the
// user's, the answer the assistant's.
std::string conversation_lines(std::span<const TaskExample> examples);

}  // namespace unmask
