#include "unmask/base/progress.h"

#include <sstream>

#include <gtest/gtest.h>

#include "unmask/base/readable.h"

namespace unmask {
namespace {

// A clock and a terminal of the test's own.
struct Bench {
  std::ostringstream out;
  double now = 0;
  Terminal terminal;

  ProgressOptions options() {
    return {
        .out = &out, .terminal = [this] { return terminal; }, .seconds = [this] { return now; }};
  }
  std::string take() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

TEST(Progress, PlainLinesAtIntervals) {
  Bench bench;
  {
    Progress progress("train", 2000, 0, bench.options());
    bench.now = 1;
    progress.update({.step = 10, .loss = 4.25, .tokens_per_second = 12345});
    EXPECT_EQ(bench.take(), "train: 10 of 2,000, loss 4.250, 12.3k tokens/s, 3:19 left\n");
    bench.now = 10.5;
    progress.update({.step = 100, .loss = 4});
    EXPECT_EQ(bench.take(), "");
    bench.now = 11;
    progress.update({.step = 110});
    EXPECT_EQ(bench.take(), "train: 110 of 2,000, 3:09 left\n");
    bench.now = 200;
    progress.update({.step = 2000, .loss = 3});
    bench.take();
    progress.finish();
    EXPECT_EQ(bench.take(), "train: 2,000 of 2,000 in 3:20, loss 3.000\n");
    progress.update({.step = 2001});
  }
  EXPECT_EQ(bench.take(), "");
}

TEST(Progress, StepsBeforeAResumeSayNothingAboutSpeed) {
  Bench bench;
  Progress progress("train", 1000, 900, bench.options());
  bench.now = 5;
  progress.update({.step = 950});
  EXPECT_EQ(bench.take(), "train: 950 of 1,000, 0:05 left\n");
}

TEST(Progress, IsNotWholeBeforeTheEnd) {
  Bench bench;
  bench.terminal = {.interactive = true, .color = false, .unicode = false, .columns = 80};
  Progress progress("train", 1000, 0, bench.options());
  bench.now = 1;
  progress.update({.step = 999});
  EXPECT_NE(bench.take().find(" 99%"), std::string::npos);
}

TEST(Progress, OneLineIsRedrawnOnATerminal) {
  Bench bench;
  bench.terminal = {.interactive = true, .color = false, .unicode = false, .columns = 80};
  {
    Progress progress("train", 100, 0, bench.options());
    bench.now = 1;
    progress.update({.step = 25, .loss = 4.25, .tokens_per_second = 12345});
    EXPECT_EQ(
        bench.take(),
        "\r\x1b[Ktrain #####...............  25%  25/100 | loss 4.250 | 12.3k tok/s | 0:03 left");
    bench.now = 1.05;
    progress.update({.step = 26});
    EXPECT_EQ(bench.take(), "") << "ten drawings a second are enough";
    bench.now = 2;
    progress.update({.step = 50});
    EXPECT_EQ(bench.take().find("\r\x1b[Ktrain ####"), 0u);
  }
  EXPECT_EQ(bench.take(), "\n") << "what follows starts on a line of its own";
}

TEST(Progress, NeverWiderThanTheTerminal) {
  Bench bench;
  for (int columns = 1; columns < 120; ++columns) {
    bench.take();
    bench.terminal = {.interactive = true, .color = false, .unicode = false, .columns = columns};
    Progress progress("train", 100000, 0, bench.options());
    bench.now += 1;
    progress.update({.step = 2500, .loss = 4.25, .tokens_per_second = 12345});
    const std::string line = bench.take();
    const size_t prefix = std::string("\r\x1b[K").size();
    EXPECT_LT(static_cast<int>(line.size()) - static_cast<int>(line.empty() ? 0 : prefix), columns);
    const size_t bar = line.find_first_of("#."), behind = line.find_first_not_of("#.", bar);
    if (line.find("train #") != std::string::npos || line.find("train .") != std::string::npos) {
      EXPECT_GE(behind - bar, 8u) << line;
    }
    if (columns > 40) {
      EXPECT_NE(line.find("loss 4.250"), std::string::npos) << line;
    }
  }
}

TEST(Progress, ColoursOnlyWhereWanted) {
  Bench bench;
  bench.terminal = {.interactive = true, .color = true, .unicode = true, .columns = 80};
  Progress progress("train", 100, 0, bench.options());
  bench.now = 1;
  progress.update({.step = 50});
  EXPECT_NE(bench.take().find("\x1b[36m█"), std::string::npos);
  bench.terminal.color = false;
  bench.now = 2;
  progress.update({.step = 51});
  EXPECT_EQ(bench.take().find("\x1b[36m"), std::string::npos);
}

TEST(Progress, LogLinesStandAboveTheBar) {
  Bench bench;
  bench.terminal = {.interactive = true, .color = false, .unicode = false, .columns = 40};
  testing::internal::CaptureStderr();
  {
    ProgressOptions options = bench.options();
    options.out = nullptr;
    Progress progress("p", 10, 0, options);
    bench.now = 1;
    progress.update({.step = 5});
    log_warning("careful");
    progress.finish();
    log_info("done");
  }
  const std::string seen = testing::internal::GetCapturedStderr();
  const size_t end_of_bar = seen.find("left") + 4;
  EXPECT_EQ(seen, seen.substr(0, end_of_bar) + "\r\x1b[Kwarning: careful\n" +
                      seen.substr(0, end_of_bar) + "\r\x1b[Kp: 5 of 10 in 0:01\ndone\n");
}

TEST(Readable, Counts) {
  EXPECT_EQ(readable_count(0), "0");
  EXPECT_EQ(readable_count(7), "7");
  EXPECT_EQ(readable_count(999), "999");
  EXPECT_EQ(readable_count(999.7), "1.00k");
  EXPECT_EQ(readable_count(12345), "12.3k");
  EXPECT_EQ(readable_count(4'560'000), "4.56M");
  EXPECT_EQ(readable_count(-2.5e9), "-2.50B");
  EXPECT_EQ(readable_count(1e30), "1e+30");
  EXPECT_EQ(readable_count(0.25), "0.25");
  EXPECT_EQ(readable_count(std::numeric_limits<double>::quiet_NaN()), "-");
}

TEST(Readable, Bytes) {
  EXPECT_EQ(readable_bytes(512), "512 B");
  EXPECT_EQ(readable_bytes(64'000), "64.0 kB");
  EXPECT_EQ(readable_bytes(1'400'000'000), "1.40 GB");
}

TEST(Readable, Integers) {
  EXPECT_EQ(readable_integer(0), "0");
  EXPECT_EQ(readable_integer(999), "999");
  EXPECT_EQ(readable_integer(1000), "1,000");
  EXPECT_EQ(readable_integer(-1234567), "-1,234,567");
  EXPECT_EQ(readable_integer(-123), "-123");
}

TEST(Readable, Durations) {
  EXPECT_EQ(readable_duration(7.4), "0:07");
  EXPECT_EQ(readable_duration(272), "4:32");
  EXPECT_EQ(readable_duration(3600 + 272), "1:04:32");
  EXPECT_EQ(readable_duration(30 * 3600.0), "30:00:00");
  EXPECT_EQ(readable_duration(52 * 3600.0), "2d 4h");
  EXPECT_EQ(readable_duration(std::numeric_limits<double>::infinity()), "-");
}

}  // namespace
}  // namespace unmask
