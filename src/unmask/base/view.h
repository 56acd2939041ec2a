#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "unmask/base/check.h"

namespace unmask {

// A borrowed row-major matrix. An Arena, a Parameters or a std::vector owns the memory.
template <class T>
struct View {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements from one row to the next, >= cols

  View() = default;
  View(T* data, int64_t rows, int64_t cols) : View(data, rows, cols, cols) {}
  View(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}

  T* row(int64_t i) const { return data + i * stride; }
  T& operator()(int64_t i, int64_t j) const { return data[i * stride + j]; }
  int64_t size() const { return rows * cols; }
  bool empty() const { return rows == 0 || cols == 0; }

  // All elements, of rows that follow each other.
  std::span<T> flat() const {
    UNMASK_CHECK(stride == cols || rows <= 1);
    return {data, static_cast<size_t>(size())};
  }

  View row_range(int64_t begin, int64_t count) const {
    UNMASK_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    return View(data + begin * stride, count, cols, stride);
  }
  View col_range(int64_t begin, int64_t count) const {
    UNMASK_CHECK(begin >= 0 && count >= 0 && begin + count <= cols);
    return View(data + begin, rows, count, stride);
  }

  operator View<const T>() const requires(!std::is_const_v<T>) {
    return View<const T>(data, rows, cols, stride);
  }
};

using Matrix = View<float>;
using ConstMatrix = View<const float>;

}  // namespace unmask
