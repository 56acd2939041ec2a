#include "unmask/evaluate/choice_questions.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/text/line_reader.h"

namespace unmask {
namespace {

constexpr std::string_view kAbout = "The following is a multiple choice question about {}.";

constexpr ChoiceTask kChoiceTasks[] = {
    {"mmlu", "mmlu", kAbout, 5, true},
    {"arc-easy", "arc_easy", kAbout, 5},
    {"arc-challenge", "arc_challenge", kAbout, 25},
    {"openbookqa", "openbookqa", kAbout},
    {"piqa", "piqa", kAbout},
    {"copa", "copa", kAbout},
    {"winogrande", "winogrande", "The following is a sentence completion question.", 5},
    {"boolq", "boolq", "The following is a yes/no question."},
    {"hellaswag", "hellaswag", ""},
};

constexpr size_t kMostChoices = 26;

Result<ChoiceQuestion> parse_question(std::string_view line) {
  UNMASK_TRY(const nlohmann::json document, parse_json(line, "question"));
  ChoiceQuestion question;
  Fields fields(document);
  fields.require("question", question.question);
  fields.require("choices", question.choices);
  fields.require("answer", question.answer);
  fields.read("subject", question.subject);
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  if (question.choices.empty() || question.choices.size() > kMostChoices) {
    return failure("'choices': expected 1 to {}, found {}", kMostChoices, question.choices.size());
  }
  if (question.answer < 0 || question.answer >= std::ssize(question.choices)) {
    return failure("'answer': expected the index of one of {} choices, found {}",
                   question.choices.size(), question.answer);
  }
  return question;
}

std::string header_text(const ChoiceTask& task, std::string subject) {
  std::ranges::replace(subject, '_', ' ');
  std::string header(task.header);
  const size_t place = header.find("{}");
  return place == std::string::npos ? header : header.replace(place, 2, subject);
}

std::string question_text(const ChoiceQuestion& question) {
  std::string text = question.question + "\n";
  for (size_t i = 0; i < question.choices.size(); ++i) {
    text += fmt::format("{}. {}\n", choice_letter(i), question.choices[i]);
  }
  return text + "Answer:";
}

// The first of these that is there, passing over the file `except`.
std::optional<std::string> find_split(const ChoiceTask& task, const std::string& directory,
                                      std::initializer_list<std::string_view> splits,
                                      const std::string& except = "") {
  for (const std::string_view split : splits) {
    std::string path = fmt::format("{}/{}_{}.jsonl", directory, task.files, split);
    if (path != except && path_exists(path)) return path;
  }
  return std::nullopt;
}

// Where the header has a place for it.
Status expect_subjects(const ChoiceTask& task, const std::vector<ChoiceQuestion>& questions,
                       const std::string& path) {
  if (task.header.find("{}") == std::string_view::npos) return {};
  const auto found = std::ranges::find(questions, "", &ChoiceQuestion::subject);
  if (found == questions.end()) return {};
  return failure("{}: question {}: expected a \"subject\", which the header of {} names", path,
                 found - questions.begin() + 1, task.name);
}

}  // namespace

std::vector<std::string> choice_task_names() {
  std::vector<std::string> names;
  for (const ChoiceTask& task : kChoiceTasks) names.emplace_back(task.name);
  return names;
}

const ChoiceTask* find_choice_task(std::string_view name) {
  for (const ChoiceTask& task : kChoiceTasks) {
    if (task.name == name) return &task;
  }
  return nullptr;
}

Result<std::vector<ChoiceQuestion>> read_choice_questions(const std::string& path) {
  UNMASK_TRY(const std::string text, read_file(path));
  std::vector<ChoiceQuestion> questions;
  LineReader lines(text);
  while (const auto line = lines.next()) {
    auto question = parse_question(line->text);
    if (!question) return failure("{}:{}: {}", path, line->number, question.error().message);
    questions.push_back(std::move(question).value());
  }
  if (questions.empty()) return failure("{}: expected questions, found none", path);
  return questions;
}

Result<ChoiceData> read_choice_data(const ChoiceTask& task, const std::string& directory,
                                    const std::string& split, int32_t shots) {
  const auto asked = split.empty() ? find_split(task, directory, {"test", "validation"})
                                   : find_split(task, directory, {split});
  if (!asked) {
    return failure("{}: expected {}_{}.jsonl, found none", directory, task.files,
                   split.empty() ? "test.jsonl or _validation" : split);
  }
  ChoiceData data;
  UNMASK_TRY(data.questions, read_choice_questions(*asked));
  UNMASK_TRY_STATUS(expect_subjects(task, data.questions, *asked));
  if (shots == 0) return data;
  const auto pool = find_split(task, directory, {"dev", "train"}, *asked);
  if (!pool) {
    return failure(
        "{}: expected {}_dev.jsonl or _train.jsonl to take {} shots from, besides the questions in "
        "{}; ask with --shots 0",
        directory, task.files, shots, *asked);
  }
  UNMASK_TRY(data.pool, read_choice_questions(*pool));
  return data;
}

std::string choice_prompt(const ChoiceTask& task, std::span<const ChoiceQuestion> shots,
                          const ChoiceQuestion& question) {
  std::string text = header_text(task, question.subject) + "\n\n";
  for (const ChoiceQuestion& shot : shots) {
    text += fmt::format("{} {}\n\n", question_text(shot),
                        choice_letter(static_cast<size_t>(shot.answer)));
  }
  return text + question_text(question);
}

}  // namespace unmask
