#include "unmask/report/page.h"

#include <string_view>
#include <utility>
#include <vector>

#include "unmask/report/page_data.h"
#include "unmask/report/summary.h"

namespace unmask {

// The files of report/page/, put into the program by report/CMakeLists.txt.
extern const char* const kPageHtml;
extern const char* const kPageCss;
extern const char* const kPageScript;

namespace {

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

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
  const std::pair<std::string_view, std::string> slots[] = {
      {"{{title}}", escape_html(title_of(runs))},
      {"{{style}}", kPageCss},
      {"{{summary}}", escape_html(summary_table(runs))},
      {"{{data}}", page_data(runs)},
      {"{{script}}", kPageScript},
  };
  // One pass, so that what fills a slot is never searched for slots.
  std::string page;
  std::string_view rest = kPageHtml;
  while (!rest.empty()) {
    size_t first = rest.size();
    const std::pair<std::string_view, std::string>* next = nullptr;
    for (const auto& slot : slots) {
      const size_t at = rest.find(slot.first);
      if (at < first) {
        first = at;
        next = &slot;
      }
    }
    page += rest.substr(0, first);
    if (next == nullptr) break;
    page += next->second;
    rest.remove_prefix(first + next->first.size());
  }
  return page;
}

}  // namespace unmask
