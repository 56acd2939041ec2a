#include <vector>

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

// A number, or two expressions and what is done with them.
struct Expression {
  int64_t value = 0;
  char operation = 0;  // 0: a number
  std::vector<Expression> parts = {};

  // The outermost pair of brackets left out.
  std::string text() const {
    if (!operation) return std::to_string(value);
    return fmt::format("{}{}{}", parts[0].inner_text(), operation, parts[1].inner_text());
  }
  // Does the leftmost operation that has numbers on both sides.
  void reduce() {
    for (Expression& part : parts) {
      if (part.operation) return part.reduce();
    }
    operation = 0;
    parts.clear();
  }

 private:
  std::string inner_text() const { return operation ? fmt::format("({})", text()) : text(); }
};

// "((3+4)*2)-5=" and "(7*2)-5=14-5=9": nothing becomes negative.
class Arithmetic final : public Task {
 public:
  Arithmetic(int32_t operands, int64_t most) : operands_(operands), most_(most) {}

  TaskExample draw(TaskRandom& random) const override {
    Expression expression = draw_expression(operands_, random);
    const std::string prompt = expression.text() + "=";
    std::string answer;
    while (expression.operation) {
      expression.reduce();
      if (!answer.empty()) answer += '=';
      answer += expression.text();
    }
    return {.prompt = prompt, .answer = answer, .identity = prompt};
  }

 protected:
  // What stands behind the last step.
  std::string_view result(std::string_view answer) const override {
    const size_t at = answer.rfind('=');
    return trimmed(answer.substr(at == std::string_view::npos ? 0 : at + 1));
  }

 private:
  Expression draw_expression(int64_t operands, TaskRandom& random) const {
    if (operands == 1) return {.value = random.between(0, most_)};
    const int64_t left = random.between(1, operands - 1);
    Expression a = draw_expression(left, random), b = draw_expression(operands - left, random);
    constexpr char kOperations[] = {'+', '-', '*'};
    char operation = random.pick(kOperations);
    if (operation == '*' && a.value * b.value > kLargestProduct) operation = '+';
    if (operation == '-' && a.value < b.value) std::swap(a, b);
    const int64_t value = operation == '+'   ? a.value + b.value
                          : operation == '-' ? a.value - b.value
                                             : a.value * b.value;
    return {.value = value, .operation = operation, .parts = {std::move(a), std::move(b)}};
  }

  static constexpr int64_t kLargestProduct = 999;

  int32_t operands_;
  int64_t most_;
};

}  // namespace

Result<std::unique_ptr<Task>> make_arithmetic(const nlohmann::json& settings) {
  int32_t operands = 4;
  int64_t most = 9;
  Fields fields(settings, "arithmetic");
  fields.read_between("operands", operands, 2, 16);
  fields.read_between("max", most, 1, 999);
  UNMASK_TRY_STATUS(fields.finish());
  return std::unique_ptr<Task>(std::make_unique<Arithmetic>(operands, most));
}

}  // namespace unmask
