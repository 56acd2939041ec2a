#include <algorithm>
#include <vector>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

// "42 07 93" and "07 42 93".
class Sorting final : public Task {
 public:
  Sorting(int32_t count, int32_t digits) : count_(count), digits_(digits) {
    for (int32_t i = 0; i < digits; ++i) most_ = 10 * most_ + 9;
  }

  TaskExample draw(TaskRandom& random) const override {
    std::vector<std::string> numbers;
    for (int32_t i = 0; i < count_; ++i) {
      numbers.push_back(fmt::format("{:0{}}", random.between(0, most_), digits_));
    }
    const std::string prompt = fmt::format("{}", fmt::join(numbers, " "));
    std::ranges::sort(numbers);  // of one width, numbers sort as their texts do
    const std::string sorted = fmt::format("{}", fmt::join(numbers, " "));
    return {.prompt = prompt, .answer = sorted, .identity = sorted};
  }

 private:
  int32_t count_, digits_;
  int64_t most_ = 0;
};

}  // namespace

Result<std::unique_ptr<Task>> make_sorting(const nlohmann::json& settings) {
  int32_t count = 5, digits = 2;
  Fields fields(settings, "sorting");
  fields.read_between("count", count, 2, 100);
  fields.read_between("digits", digits, 1, 9);
  UNMASK_TRY_STATUS(fields.finish());
  return std::unique_ptr<Task>(std::make_unique<Sorting>(count, digits));
}

}  // namespace unmask
