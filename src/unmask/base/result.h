#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "unmask/base/check.h"

namespace unmask {

// What a user can cause: a message that says what was expected, what was found and what to do.
struct Error {
  enum class Kind {
    usage,    // flags, configuration: exit code 2
    failure,  // files, divergence: exit code 1
  };
  std::string message;
  Kind kind = Kind::failure;
};

// failure("{}: expected 8 bytes, found {}", path, n)
template <class... Args>
Error failure(fmt::format_string<Args...> format, Args&&... args) {
  return {fmt::format(format, std::forward<Args>(args)...), Error::Kind::failure};
}

template <class... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return {fmt::format(format, std::forward<Args>(args)...), Error::Kind::usage};
}

// A value or an Error.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Error error) : state_(std::move(error)) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }

  T& value() & {
    UNMASK_CHECK(ok());
    return std::get<T>(state_);
  }
  const T& value() const& {
    UNMASK_CHECK(ok());
    return std::get<T>(state_);
  }
  T&& value() && {
    UNMASK_CHECK(ok());
    return std::get<T>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    UNMASK_CHECK(!ok());
    return std::get<Error>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    UNMASK_CHECK(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace unmask

#define UNMASK_CONCAT_INNER(a, b) a##b
#define UNMASK_CONCAT(a, b) UNMASK_CONCAT_INNER(a, b)

// UNMASK_TRY(auto text, read_text(path));  returns the error, or declares the value.
#define UNMASK_TRY(declaration, expression)             \
  auto UNMASK_CONCAT(result_, __LINE__) = (expression); \
  if (!UNMASK_CONCAT(result_, __LINE__)) {              \
    return UNMASK_CONCAT(result_, __LINE__).error();    \
  }                                                     \
  declaration = std::move(UNMASK_CONCAT(result_, __LINE__)).value()

// UNMASK_TRY_STATUS(save(path));  returns the error, or goes on.
#define UNMASK_TRY_STATUS(expression)                                  \
  do {                                                                 \
    if (auto status_ = (expression); !status_) return status_.error(); \
  } while (false)
