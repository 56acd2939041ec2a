#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"

namespace unmask {

struct ChoiceQuestion {
  std::string question = {};
  std::vector<std::string> choices = {};  // at most 26
  int32_t answer = 0;                     // index of the right one
  std::string subject = {};
};

// 0 is A.
inline char choice_letter(size_t choice) { return static_cast<char>('A' + choice); }

// JSON lines {"question": …, "choices": […], "answer": index, "subject": …}.
Result<std::vector<ChoiceQuestion>> read_choice_questions(const std::string& path);

// A benchmark of multiple choice as arXiv 2604.01622 asks it.
struct ChoiceTask {
  std::string_view name;
  std::string_view files;   // DIR/FILES_test.jsonl or _validation, shots from _dev or _train
  std::string_view header;  // "{}" stands for the subject; empty: likelihood of the endings
  int32_t shots = 0;        // the first of the pool
  bool by_subject = false;  // the first of the question's subject
};
std::vector<std::string> choice_task_names();
const ChoiceTask* find_choice_task(std::string_view name);  // null = unknown

struct ChoiceData {
  std::vector<ChoiceQuestion> questions;
  std::vector<ChoiceQuestion> pool;  // that shots are taken from
};
// `split` empty: test, or validation where there is none. Shots are of dev, or train where there is
// none or it is asked.
Result<ChoiceData> read_choice_data(const ChoiceTask& task, const std::string& directory,
                                    const std::string& split, int32_t shots);

// Header, blank line, the shots with their answers, the question and "Answer:".
std::string choice_prompt(const ChoiceTask& task, std::span<const ChoiceQuestion> shots,
                          const ChoiceQuestion& question);

}  // namespace unmask
