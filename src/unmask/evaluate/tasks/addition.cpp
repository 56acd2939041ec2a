#include <algorithm>

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

// "007+582=" and "0589": all numbers of one width, so that the length of an answer says nothing.
class Addition final : public Task {
 public:
  Addition(int32_t digits, bool even_lengths) : digits_(digits), even_lengths_(even_lengths) {}

  TaskExample draw(TaskRandom& random) const override {
    const int64_t a = draw_number(random), b = draw_number(random);
    return {.prompt = fmt::format("{:0{}}+{:0{}}=", a, digits_, b, digits_),
            .answer = fmt::format("{:0{}}", a + b, digits_ + 1),
            .identity = fmt::format("{}+{}", std::min(a, b), std::max(a, b))};
  }

 private:
  int64_t draw_number(TaskRandom& random) const {
    int64_t most = 0;
    for (int64_t i = even_lengths_ ? random.between(1, digits_) : digits_; i > 0; --i) {
      most = 10 * most + 9;
    }
    return random.between(0, most);
  }

  int32_t digits_;
  bool even_lengths_;  // short numbers are as frequent as long ones
};

}  // namespace

Result<std::unique_ptr<Task>> make_addition(const nlohmann::json& settings) {
  int32_t digits = 3;
  bool even_lengths = false;
  Fields fields(settings, "addition");
  fields.read_between("digits", digits, 1, 17);
  fields.read("even_lengths", even_lengths);
  UNMASK_TRY_STATUS(fields.finish());
  return std::unique_ptr<Task>(std::make_unique<Addition>(digits, even_lengths));
}

}  // namespace unmask
