#include "unmask/report/metrics_writer.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/log.h"
#include "unmask/base/posix.h"
#include "unmask/report/metrics_fields.h"

namespace unmask {
namespace fs = std::filesystem;
namespace {

std::string metrics_path(const std::string& directory) {
  return (fs::path(directory) / "metrics.jsonl").string();
}

// Appends JSON to a line; a visitor of visit_fields.
class LineWriter {
 public:
  explicit LineWriter(fmt::memory_buffer& line) : line_(line) {}

  template <class T>
  void operator()(std::string_view key, const T& value) {
    begin(key);
    put(value);
  }

  void begin(std::string_view key) {
    if (line_.size() > 0 && line_[line_.size() - 1] != '{') line_.push_back(',');
    fmt::format_to(std::back_inserter(line_), "\"{}\":", key);
  }

  void put(int64_t value) { fmt::format_to(std::back_inserter(line_), "{}", value); }
  void put(bool value) { append(value ? "true" : "false"); }
  void put(double value) {
    if (std::isfinite(value)) {
      fmt::format_to(std::back_inserter(line_), "{}", value);
    } else {
      append("null");
    }
  }
  // Strings are rare (once per run or checkpoint); the library knows about bad UTF-8.
  void put(const std::string& value) { append(to_text(nlohmann::json(value))); }
  template <class T>
  void put(const std::vector<T>& values) {
    line_.push_back('[');
    for (const T& value : values) {
      if (&value != values.data()) line_.push_back(',');
      put(value);
    }
    line_.push_back(']');
  }
  template <class Event>
  void put(const Event& event) {
    line_.push_back('{');
    visit_fields(event, *this);
    line_.push_back('}');
  }

  void append(std::string_view text) { line_.append(text.data(), text.data() + text.size()); }

 private:
  fmt::memory_buffer& line_;
};

// The lines to keep when a run goes on after `step`, measured last at `measured`.
std::string lines_up_to(int64_t step, int64_t measured, std::string_view text) {
  std::string kept;
  for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
    const std::string_view line = text.substr(0, end);
    const auto event = json_in(line);
    const bool has_step = event.is_object() && event.contains("step") && event["step"].is_number();
    const bool validation =
        has_step && event.contains("kind") && event["kind"] == kKind<ValidationEvent>;
    const int64_t last = validation ? std::min(step, measured) : step;
    if (has_step && event["step"].get<double>() > static_cast<double>(last)) continue;
    kept.append(line).push_back('\n');
  }
  return kept;
}

}  // namespace

Result<MetricsWriter> MetricsWriter::open(const std::string& path, int flags) {
  MetricsWriter writer;
  writer.path_ = path;
  writer.file_ = ::open(path.c_str(), flags | O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (writer.file_ < 0) {
    return failure("{}: cannot open for writing: {}", path, std::strerror(errno));
  }
  return writer;
}

Result<MetricsWriter> MetricsWriter::create(const std::string& directory) {
  const std::string path = metrics_path(directory);
  UNMASK_TRY_STATUS(make_parent(path));
  std::error_code code;
  const auto size = fs::file_size(path, code);
  if (!code && size > 0) {
    return failure(
        "{}: expected a new run, found the metrics of an earlier one; resume it or choose "
        "another directory",
        path);
  }
  return open(path, 0);
}

Result<MetricsWriter> MetricsWriter::resume(const std::string& directory, int64_t step,
                                            int64_t measured) {
  const std::string path = metrics_path(directory);
  if (!path_exists(path)) return create(directory);
  UNMASK_TRY(const std::string text, read_file(path));
  const std::string kept = lines_up_to(step, measured, text);
  if (kept.size() != text.size()) UNMASK_TRY_STATUS(write_file_atomically(path, kept));
  return open(path, 0);
}

MetricsWriter::MetricsWriter(MetricsWriter&& other) noexcept { *this = std::move(other); }

MetricsWriter& MetricsWriter::operator=(MetricsWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(failing_, other.failing_);
  line_ = std::move(other.line_);
  return *this;
}

MetricsWriter::~MetricsWriter() {
  if (file_ >= 0) ::close(file_);
}

template <class Event>
void MetricsWriter::write_event(const Event& event) {
  line_.clear();
  LineWriter writer(line_);
  fmt::format_to(std::back_inserter(line_), "{{\"kind\":\"{}\"", kKind<Event>);
  visit_fields(event, writer);
  if constexpr (std::is_same_v<Event, ConfigEvent>) {
    const auto configuration = json_in(event.configuration);
    UNMASK_CHECK(configuration.is_object());
    writer.begin("configuration");
    writer.append(to_text(configuration));
  }
  writer.append("}\n");
  append_line();
}

void MetricsWriter::append_line() {
  const off_t before = ::lseek(file_, 0, SEEK_END);
  const size_t done = write_all(file_, {line_.data(), line_.size()});
  if (done == line_.size()) {
    failing_ = false;
    return;
  }
  const int reason = errno;
  if (done > 0 && ::ftruncate(file_, before) != 0) {
    log_warning("{}: a line is left half written: {}", path_, std::strerror(errno));
  }
  if (!failing_) {
    log_warning("{}: cannot write: {}; training goes on, metrics are lost until there is room",
                path_, std::strerror(reason));
  }
  failing_ = true;
}

void MetricsWriter::write(const ConfigEvent& event) { write_event(event); }
void MetricsWriter::write(const TrainEvent& event) { write_event(event); }
void MetricsWriter::write(const ValidationEvent& event) { write_event(event); }
void MetricsWriter::write(const RoutingEvent& event) { write_event(event); }
void MetricsWriter::write(const CheckpointEvent& event) { write_event(event); }
void MetricsWriter::write(const EndEvent& event) { write_event(event); }

}  // namespace unmask
