#include "unmask/report/page.h"

#include "tests/report/synthetic_run.h"
#include <cmath>
#include <filesystem>
#include <regex>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/report/configuration.h"
#include "unmask/report/page_data.h"

namespace unmask {
namespace {
namespace fs = std::filesystem;

class Page : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "page_" + std::to_string(::getpid()) + "_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  RunLog make(SyntheticRun run) const {
    const std::string directory = directory_ + "/" + run.name;
    write_synthetic_run(directory, run);
    auto log = read_run(directory);
    EXPECT_TRUE(log) << log.error().message;
    EXPECT_TRUE(log.value().problems.empty());
    return std::move(log).value();
  }

  std::string directory_;
};

size_t occurrences(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST_F(Page, NeedsNothingElse) {
  const std::vector<RunLog> runs = {make({.steps = 200})};
  std::string page = render_page(runs);
  EXPECT_EQ(page.find("{{"), std::string::npos) << "every slot is filled";
  // The name of SVG elements, which nobody loads.
  page = std::regex_replace(page, std::regex("http://www\\.w3\\.org/2000/svg"), "");
  for (const char* load : {"http://", "https://", "src=", "<link", "@import", "import(", "fetch(",
                           "XMLHttpRequest", "eval(", "innerHTML"}) {
    EXPECT_EQ(page.find(load), std::string::npos) << load;
  }
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const std::string url : {"url(\"", "url('", "url(//", "url(h"}) {
    EXPECT_EQ(page.find(url), std::string::npos) << url;
  }
}

TEST_F(Page, NothingARunSaysBreaksOut) {
  RunLog run = make({.name = "x<!--<script>&\"'", .steps = 60});
  const std::string evil = "</script><script>alert(1)</script><!-- {{data}} \xff \xe2\x80\xa8";
  run.config.machine.processor = evil;
  run.config.configuration = to_text(nlohmann::json{{"key</script>", "</script><b>"}});
  run.samples.push_back({60, evil, evil});
  run.end = EndEvent{.step = 60, .tokens = 0, .seconds = 0, .reason = evil};
  const std::vector<RunLog> runs = {run};
  const std::string page = render_page(runs);
  EXPECT_EQ(occurrences(page, "</script"), 2u) << "the page's own two";
  EXPECT_EQ(page.find("<!--"), std::string::npos);
  EXPECT_NE(page.find("<title>x&lt;!--&lt;script&gt;&amp;&quot;&#39; ·"), std::string::npos);
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  const auto data = json_in(page.substr(begin, page.find("</script", begin) - begin));
  EXPECT_EQ(data["runs"][0]["name"], "x<!--<script>&\"'");
  EXPECT_EQ(data["runs"][0]["samples"].back()["text"],
            "</script><script>alert(1)</script><!-- {{data}} \ufffd \u2028");
}

TEST_F(Page, TenLongRunsStaySmallAndKeepTheirExtremes) {
  RunLog run = make({.steps = 10'000, .layers = 16, .experts = 64, .routing_every = 100});
  run.train[4321].loss = 77;
  run.train[4322].gradient_norm = 88;
  run.validation[50].loss = 0.125;
  run.train.back().learning_rate = 0.5;
  const std::vector<RunLog> runs(10, run);
  const std::string text = page_data(runs);
  EXPECT_LT(render_page(runs).size(), 1'000'000u);

  const auto data = json_in(text)["runs"][0];
  const auto highest = [](const nlohmann::json& column) {
    double most = -INFINITY;
    for (const auto& value : column) most = std::max(most, value.get<double>());
    return most;
  };
  EXPECT_EQ(highest(data["train"]["loss_high"]), 77);
  EXPECT_EQ(highest(data["train"]["gradient_norm_high"]), 88);
  EXPECT_EQ(data["train"]["step"].back(), 10'000);
  EXPECT_EQ(data["train"]["learning_rate"].back(), 0.5);
  const auto& maps = data["routing"]["heat"]["maps"];
  EXPECT_EQ(maps.front()["step"], run.routing.front().step);
  EXPECT_EQ(maps.back()["step"], run.routing.back().step);
  const auto& losses = data["validation"]["loss"];
  EXPECT_NE(std::find(losses.begin(), losses.end(), nlohmann::json(0.125)), losses.end());
  EXPECT_EQ(data["summary"]["best_loss"], 0.125);
}

// The inverse of the coding, as heatmap.js has it.
double decode(const std::string& text, size_t i) {
  const auto digit = [&](size_t at) {
    const char c = text[at] == 'p' ? '\\' : text[at] == 'q' ? '<' : text[at];
    return c - '0';
  };
  const double root = (digit(2 * i) * 64 + digit(2 * i + 1)) / 512.0;
  return root * root;
}

TEST_F(Page, LoadsSurviveTheirCoding) {
  RunLog run = make({.steps = 20, .layers = 1});
  run.routing.resize(1);
  auto& tokens = run.routing[0].layers[0].tokens_per_expert;
  tokens.assign(300, 0);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int64_t>(i * i);
  double total = 0;
  for (const int64_t count : tokens) total += static_cast<double>(count);
  const std::vector<RunLog> runs = {run};
  const auto heat = json_in(page_data(runs))["runs"][0]["routing"]["heat"];
  const std::string loads = heat["maps"][0]["loads"];
  ASSERT_EQ(loads.size(), 2 * tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const double load = static_cast<double>(tokens[i]) * 300 / total;
    // Half a step of the root, 1/1024, squared.
    EXPECT_NEAR(decode(loads, i), load, 2 * std::sqrt(load) / 1024 + 1e-6) << i;
  }
}

TEST_F(Page, ShortRunsHaveNoRangeOfTheLoss) {
  const std::vector<RunLog> runs = {make({.steps = 20})};
  EXPECT_FALSE(json_in(page_data(runs))["runs"][0]["train"].contains("loss_low"));
}

TEST_F(Page, ShowsTheLastSamplesCutBetweenCharacters) {
  RunLog run = make({.steps = 20, .samples = false});
  for (int64_t step = 1; step <= 20; ++step) {
    run.samples.push_back({step, "", std::string(1499, 'x') + "é and more"});
  }
  const std::vector<RunLog> runs = {run};
  const auto samples = json_in(page_data(runs))["runs"][0]["samples"];
  ASSERT_EQ(samples.size(), 8u);
  EXPECT_EQ(samples.front()["step"], 13);
  EXPECT_EQ(samples.back()["step"], 20);
  EXPECT_EQ(samples[0]["text"], std::string(1499, 'x') + " …");
}

TEST_F(Page, ExpertsPerTokenStandAtTheMeanMaskRatioOfTheirBin) {
  RunLog run = make({.steps = 20});
  run.routing.resize(1);
  run.routing[0].mask_ratio = {0.501, 0.503, 1.0};
  run.routing[0].experts_per_token = {2, 4, 6};
  const std::vector<RunLog> runs = {run};
  const auto capacity = json_in(page_data(runs))["runs"][0]["routing"]["capacity"];
  EXPECT_EQ(capacity["mask_ratio"], (nlohmann::json{0.502, 1}));
  EXPECT_EQ(capacity["experts_per_token"], (nlohmann::json{3, 6}));
}

TEST_F(Page, HeatMapsAreOfTheLayersOfTheLastOne) {
  RunLog run = make({.steps = 200, .layers = 2, .routing_every = 50});
  run.routing[0].layers.pop_back();
  const std::vector<RunLog> runs = {run};
  const auto maps = json_in(page_data(runs))["runs"][0]["routing"]["heat"]["maps"];
  EXPECT_EQ(maps.size(), run.routing.size() - 1);
  EXPECT_EQ(maps[0]["step"], run.routing[1].step);
}

TEST_F(Page, RunsWithoutRoutingValidationOrSteps) {
  RunLog run = make({.steps = 20, .samples = false, .ended = false});
  run.routing.clear();
  run.validation.clear();
  RunLog only_validation = make({.name = "other", .steps = 20});
  only_validation.train.clear();
  const std::vector<RunLog> runs = {run, only_validation};
  const auto data = json_in(page_data(runs));
  EXPECT_TRUE(data["runs"][0]["routing"].is_null());
  EXPECT_EQ(data["runs"][0]["validation"]["step"].size(), 0u);
  EXPECT_EQ(data["runs"][1]["train"]["step"].size(), 0u);
  EXPECT_EQ(data["runs"][0]["summary"]["status"], "not ended");
}

TEST_F(Page, BinsBecomeQuartersByTheirCounts) {
  RunLog run = make({.steps = 20});
  run.validation.resize(1);
  run.validation[0].bin_loss.assign(8, 1.0);
  run.validation[0].bin_count.assign(8, 1);
  run.validation[0].bin_loss[0] = 4;
  run.validation[0].bin_count[0] = 3;
  run.validation[0].bin_loss[2] = run.validation[0].bin_loss[3] = kNotMeasured;
  const std::vector<RunLog> runs = {run};
  const auto quarters = json_in(page_data(runs))["runs"][0]["validation"]["quarters"];
  EXPECT_EQ(quarters[0][0], 3.25);
  EXPECT_TRUE(quarters[1][0].is_null());
  EXPECT_EQ(quarters[2][0], 1);
}

TEST(Configuration, DifferencesByDottedKey) {
  std::vector<RunLog> runs(2);
  runs[0].config.configuration = R"({"a":{"b":1,"c":[1,2]},"empty":{},"only":true,"same":"x"})";
  runs[1].config.configuration = R"({"a":{"b":2,"c":[1,2]},"same":"x"})";
  std::string differing, agreeing;
  for (const ConfigurationRow& row : compare_configurations(runs)) {
    (row.differs ? differing : agreeing) +=
        row.key + "=" + row.values[0] + "|" + row.values[1] + " ";
  }
  EXPECT_EQ(differing, "a.b=1|2 empty={}| only=true| ");
  EXPECT_EQ(agreeing, "a.c=[1,2]|[1,2] same=x|x ");
}

}  // namespace
}  // namespace unmask
