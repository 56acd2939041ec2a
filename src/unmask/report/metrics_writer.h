#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "unmask/base/result.h"
#include "unmask/report/metrics.h"

namespace unmask {

// Appends events to `metrics.jsonl` of a run directory. Each event is one write of one whole line,
// so a kill leaves at most one torn line at the end. A full disk costs the line and one warning,
// never the run: what was half written is taken back, and writing goes on once there is room.
class MetricsWriter {
 public:
  // A new file; the directory is made. Failure when the directory holds metrics already.
  static Result<MetricsWriter> create(const std::string& directory);

  // Goes on after `step`, of which the validation loss was measured last at `measured`: drops a
  // torn last line, events of later steps and later validations, so that curves do not double. A
  // directory without metrics is begun.
  static Result<MetricsWriter> resume(const std::string& directory, int64_t step, int64_t measured);

  ~MetricsWriter();
  MetricsWriter(MetricsWriter&& other) noexcept;
  MetricsWriter& operator=(MetricsWriter&& other) noexcept;

  void write(const ConfigEvent& event);
  void write(const TrainEvent& event);
  void write(const ValidationEvent& event);
  void write(const RoutingEvent& event);
  void write(const CheckpointEvent& event);
  void write(const EndEvent& event);

  const std::string& path() const { return path_; }

 private:
  static Result<MetricsWriter> open(const std::string& path, int flags);
  MetricsWriter() = default;
  template <class Event>
  void write_event(const Event& event);
  void append_line();

  std::string path_;
  int file_ = -1;
  bool failing_ = false;     // the last line was lost
  fmt::memory_buffer line_;  // kept, so that writing allocates nothing in the steady state
};

}  // namespace unmask
