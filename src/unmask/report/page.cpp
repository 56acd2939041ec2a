#include "unmask/report/page.h"

#include <vector>

#include "unmask/report/page_data.h"
#include "unmask/report/summary.h"
#include "unmask/report/template.h"

namespace unmask {

// The files of report/page/, put into the program by report/CMakeLists.txt.
extern const char* const kPageHtml;
extern const char* const kPageCss;
extern const char* const kPageScript;

namespace {

std::string title_of(std::span<const RunLog> runs) {
  constexpr size_t kLongest = 70;
  std::vector<std::string> directories;
  for (const RunLog& run : runs) directories.push_back(run.directory);
  std::string title;
  for (const std::string& name : run_names(directories))
    title += (title.empty() ? "" : ", ") + name;
  return runs.size() == 1 || title.size() <= kLongest ? title : fmt::format("{} runs", runs.size());
}

}  // namespace

std::string render_page(std::span<const RunLog> runs) {
  UNMASK_CHECK(!runs.empty());
  const Slot slots[] = {
      {"{{title}}", escape_html(title_of(runs))},
      {"{{style}}", kPageCss},
      {"{{summary}}", escape_html(summary_table(runs))},
      {"{{data}}", page_data(runs)},
      {"{{script}}", kPageScript},
  };
  return fill(kPageHtml, slots);
}

}  // namespace unmask
