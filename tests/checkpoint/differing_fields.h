#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "unmask/checkpoint/training_state.h"

namespace unmask {

// The bytes of every field of a training state.
struct FieldBytes {
  std::map<std::string, std::string> fields;

  template <class T>
  requires std::is_arithmetic_v<T>
  void operator()(const char* name, const T& value) { add(name, std::span(&value, 1)); }
  void operator()(const char* name, const std::optional<double>& value) {
    if (value) add(name, std::span(&*value, 1));
  }
  void operator()(const char* name, const Parameters& parameters) {
    for (const ParameterInfo& info : parameters.layout().table) {
      add(fmt::format("{}.{}", name, info.name),
          parameters.flat().subspan(static_cast<size_t>(info.offset),
                                    static_cast<size_t>(info.size())));
    }
  }

  void add(const std::string& name, auto values) {
    const auto bytes = std::as_bytes(values);
    fields[name].assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
};

// The names of the fields in which two states differ, by their bits.
inline std::vector<std::string> differing_fields(const TrainingState& a, const TrainingState& b) {
  FieldBytes of_a, of_b;
  TrainingState::visit(a, of_a);
  TrainingState::visit(b, of_b);
  std::vector<std::string> names;
  for (const auto& [name, bytes] : of_a.fields) {
    const auto other = of_b.fields.find(name);
    if (other == of_b.fields.end() || bytes != other->second) names.push_back(name);
  }
  for (const auto& [name, bytes] : of_b.fields) {
    if (!of_a.fields.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace unmask
