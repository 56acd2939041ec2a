#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/experiment/spec.h"
#include "unmask/experiment/statistics.h"

namespace unmask {

// A number of a stage against another, over seeds.
struct Band {
  std::vector<double> x;
  std::vector<Interval> y;
};

// All numbers of an experiment: results.json. Stages that are not done are missing in it, and
// everything asked about them is NaN or empty.
class Results {
 public:
  // From the records in DIRECTORY/ARM/seed-S, for every seed that has any.
  static Result<Results> collect(const ExperimentSpec& spec, const std::string& directory);
  static Result<Results> read(const std::string& path);

  const nlohmann::json& document() const { return document_; }
  std::string text() const;  // of results.json
  Results brief() const;     // without what is computed from the rest

  bool quick() const { return document_["quick"]; }
  bool complete() const { return document_["remaining"].empty(); }
  std::vector<int64_t> seeds() const;
  std::vector<std::string> arms() const;
  const std::string& label(const std::string& arm) const;

  // `value`: "STAGE.NAME", "train.loss". By seed, NaN where it is missing.
  std::vector<double> values(const std::string& arm, const std::string& value) const;
  Interval interval(const std::string& arm, const std::string& value) const;
  // `column`: "STAGE.CURVE.NAME", "train.validation.loss"; of one seed, an index into seeds().
  std::vector<double> column(const std::string& arm, const std::string& column, size_t seed) const;
  // Rows of a curve with the same number, over the seeds that have the row; x is their mean.
  Band band(const std::string& arm, const std::string& curve, const std::string& x,
            const std::string& y) const;

 private:
  const nlohmann::json* find_arm(const std::string& arm) const;
  // The number or column that a dotted name means, measured or timed; null = missing.
  static const nlohmann::json* find(const nlohmann::json& run, const std::string& name,
                                    const char* measured, const char* timed);

  static const nlohmann::json* last_point(const nlohmann::json& run, const std::string& value);

  nlohmann::json document_;
};

// Numbers to six digits, all that is not finite as null: what is written reads back the same.
nlohmann::json rounded(const nlohmann::json& document);

}  // namespace unmask
