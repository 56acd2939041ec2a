#include "unmask/base/result.h"

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "unmask/base/caught.h"

namespace unmask {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return usage_error("expected an even number, found {}", n);
  return n / 2;
}

Result<int> quarter(int n) {
  UNMASK_TRY(const int once, half(n));
  UNMASK_TRY(const int twice, half(once));
  return twice;
}

Status check_quarter(int n) {
  UNMASK_TRY_STATUS(half(n).ok() ? Status() : Status(failure("not even: {}", n)));
  UNMASK_TRY([[maybe_unused]] const int value, quarter(n));
  return {};
}

TEST(Result, HoldsAValueOrAnError) {
  const auto value = half(6);
  ASSERT_TRUE(value.ok());
  EXPECT_TRUE(static_cast<bool>(value));
  EXPECT_EQ(*value, 3);
  const auto error = half(7);
  ASSERT_FALSE(error.ok());
  EXPECT_EQ(error.error().message, "expected an even number, found 7");
  EXPECT_EQ(error.error().kind, Error::Kind::usage);
}

TEST(Result, TryPassesErrorsOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message, "expected an even number, found 3");
  EXPECT_TRUE(check_quarter(8).ok());
  EXPECT_EQ(check_quarter(7).error().message, "not even: 7");
  EXPECT_EQ(check_quarter(7).error().kind, Error::Kind::failure);
  EXPECT_EQ(check_quarter(6).error().kind, Error::Kind::usage);
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 5);
}

TEST(Caught, MakesAFailureOfWhatIsThrown) {
  EXPECT_EQ(*caught([] { return half(6); }), 3);
  EXPECT_EQ(caught([] { return half(7); }).error().kind, Error::Kind::usage);
  const auto full = caught([]() -> Result<int> { throw std::bad_alloc(); });
  EXPECT_NE(full.error().message.find("not enough memory"), std::string::npos);
  const auto other = caught([]() -> Status { throw std::runtime_error("a library's words"); });
  EXPECT_EQ(other.error().message, "a library's words");
}

TEST(ResultDeathTest, AskingForTheWrongOneIsAProgrammerError) {
  EXPECT_DEATH((void)half(7).value(), "ok");
  EXPECT_DEATH((void)half(6).error(), "ok");
}

}  // namespace
}  // namespace unmask
