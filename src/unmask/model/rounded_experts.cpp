#include "unmask/model/rounded_experts.h"

#include "unmask/kernels/elementwise.h"

namespace unmask {
namespace {

constexpr int64_t kLine = 64 / sizeof(bf16);  // values of a cache line

int64_t room(const ParameterInfo& info) {
  return info.of_experts ? (info.size() + kLine - 1) / kLine * kLine : 0;
}

}  // namespace

int64_t rounded_experts_bytes(const ParameterLayout& layout) {
  int64_t values = 0;
  for (const ParameterInfo& info : layout.table) values += room(info);
  return values * int64_t{sizeof(bf16)};
}

RoundedExperts::RoundedExperts(const Parameters& parameters)
    : buffer_(static_cast<size_t>(rounded_experts_bytes(parameters.layout()))) {
  bf16* next = buffer_.as<bf16>();
  for (const ParameterInfo& info : parameters.layout().table) {
    views_.push_back(info.of_experts ? View<bf16>(next, info.rows, info.cols) : View<bf16>());
    next += room(info);
  }
  round(parameters);
}

View<bf16> RoundedExperts::operator[](int parameter) const {
  return views_.empty() || parameter < 0 ? View<bf16>() : views_[static_cast<size_t>(parameter)];
}

void RoundedExperts::round(const Parameters& parameters) {
  for (int i = 0; i < static_cast<int>(views_.size()); ++i) {
    const View<bf16> view = (*this)[i];
    const auto size = static_cast<size_t>(view.size());
    if (size > 0) copy_as_bf16({parameters[i].data, size}, {view.data, size});
  }
}

}  // namespace unmask
