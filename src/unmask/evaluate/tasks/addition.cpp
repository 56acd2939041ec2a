#include <algorithm>

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

// "007+582=" and "0589": all numbers of one width, so that the length of an answer says nothing.
class Addition final : public Task {
 public:
  explicit Addition(int32_t digits) : digits_(digits) {
    for (int32_t i = 0; i < digits; ++i) most_ = 10 * most_ + 9;
  }

  TaskExample draw(TaskRandom& random) const override {
    const int64_t a = random.between(0, most_), b = random.between(0, most_);
    return {.prompt = fmt::format("{:0{}}+{:0{}}=", a, digits_, b, digits_),
            .answer = fmt::format("{:0{}}", a + b, digits_ + 1),
            .identity = fmt::format("{}+{}", std::min(a, b), std::max(a, b))};
  }

 private:
  int32_t digits_;
  int64_t most_ = 0;
};

}  // namespace

Result<std::unique_ptr<Task>> make_addition(const nlohmann::json& settings) {
  int32_t digits = 3;
  Fields fields(settings, "addition");
  fields.read_between("digits", digits, 1, 17);
  UNMASK_TRY_STATUS(fields.finish());
  return std::unique_ptr<Task>(std::make_unique<Addition>(digits));
}

}  // namespace unmask
