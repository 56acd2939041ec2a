#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

constexpr std::string_view kPeople[] = {"Anna",  "Ben",   "Clara", "David", "Emma", "Felix",
                                        "Greta", "Henry", "Ida",   "Jonas", "Lena", "Max"};
constexpr std::string_view kCountables[] = {"apples",  "books", "cards", "coins",   "eggs",
                                            "flowers", "keys",  "nuts",  "pencils", "stamps"};

// A story told up to some event, and its solution so far.
struct Story {
  std::string_view name, other, things;
  int64_t count = 0;
  std::string problem, solution;

  // "Anna now has 3 + 4 = <<3+4=7>>7 apples."
  void now_has(int64_t a, char operation, int64_t b, int64_t value) {
    solution += fmt::format("{} now has {} {} {} = <<{}{}{}={}>>{} {}.\n", name, a, operation, b, a,
                            operation, b, value, value, things);
    count = value;
  }
};

void buys(Story& story, int64_t most, TaskRandom& random) {
  const int64_t more = random.between(1, most);
  story.problem += fmt::format(" {} buys {} more.", story.name, more);
  story.now_has(story.count, '+', more, story.count + more);
}

void gives(Story& story, int64_t, TaskRandom& random) {
  if (story.count < 2) return buys(story, 1, random);
  const int64_t given = random.between(1, story.count - 1);
  story.problem += fmt::format(" {} gives {} to {}.", story.name, given, story.other);
  story.now_has(story.count, '-', given, story.count - given);
}

void finds_boxes(Story& story, int64_t, TaskRandom& random) {
  const int64_t boxes = random.between(2, 5), each = random.between(2, 9);
  story.problem +=
      fmt::format(" {} finds {} boxes with {} {} each.", story.name, boxes, each, story.things);
  story.solution += fmt::format("The boxes hold {} * {} = <<{}*{}={}>>{} {}.\n", boxes, each, boxes,
                                each, boxes * each, boxes * each, story.things);
  story.now_has(story.count, '+', boxes * each, story.count + boxes * each);
}

void is_doubled(Story& story, int64_t, TaskRandom&) {
  story.problem += fmt::format(" Then {} doubles what {} has.", story.other, story.name);
  story.now_has(story.count, '*', 2, story.count * 2);
}

// Stories of someone who has things, gets and gives some. The answer ends in "#### 12" (GSM8K,
// arXiv 2110.14168), with the calculations marked as there.
class WordProblems final : public Task {
 public:
  WordProblems(int32_t steps, int64_t most) : steps_(steps), most_(most) {}

  TaskExample draw(TaskRandom& random) const override {
    Story story;
    story.name = random.pick(kPeople);
    do {
      story.other = random.pick(kPeople);
    } while (story.other == story.name);
    story.things = random.pick(kCountables);
    story.count = random.between(2, most_);
    story.problem = fmt::format("{} has {} {}.", story.name, story.count, story.things);
    constexpr decltype(&buys) kEvents[] = {buys, gives, finds_boxes, is_doubled};
    for (int32_t step = 0; step < steps_; ++step) random.pick(kEvents)(story, most_, random);
    const std::string prompt =
        fmt::format("{} How many {} does {} have now?", story.problem, story.things, story.name);
    return {.prompt = prompt,
            .answer = fmt::format("{}#### {}", story.solution, story.count),
            .identity = prompt};
  }

 protected:
  std::string_view result(std::string_view answer) const override {
    return behind_last(answer, "####");
  }

 private:
  int32_t steps_;
  int64_t most_;
};

}  // namespace

Result<std::unique_ptr<Task>> make_word_problems(const nlohmann::json& settings) {
  int32_t steps = 2;
  int64_t most = 20;
  Fields fields(settings, "word-problems");
  fields.read_between("steps", steps, 1, 12);
  fields.read_between("max", most, 2, 9999);
  UNMASK_TRY_STATUS(fields.finish());
  return std::unique_ptr<Task>(std::make_unique<WordProblems>(steps, most));
}

}  // namespace unmask
