#include "unmask/experiment/page.h"

#include <fmt/format.h>

#include "unmask/base/readable.h"
#include "unmask/report/document.h"
#include "unmask/report/template.h"

namespace unmask {
namespace {

std::string section(const std::string& title, const std::string& body) {
  return fmt::format("<section><header><h2>{}</h2></header>\n{}</section>\n", escape_html(title),
                     body);
}

std::string table_html(const Table& table) {
  std::string html =
      "<div class=\"card table\"><div class=\"scroll\"><table class=\"data\"><thead>";
  const auto row = [&](const std::vector<std::string>& cells, const char* cell_tag) {
    html += "<tr>";
    for (size_t i = 0; i < cells.size(); ++i) {
      const char* tag = i == 0 ? "th" : cell_tag;
      html += fmt::format("<{0}>{1}</{0}>", tag, escape_html(cells[i]));
    }
    html += "</tr>\n";
  };
  row(table.head, "th");
  html += "</thead><tbody>\n";
  for (const auto& cells : table.rows) row(cells, "td");
  return html + "</tbody></table></div></div>\n";
}

std::string figure_html(const Figure& figure) {
  return fmt::format(
      "<figure class=\"card half\"><div class=\"plot\">{}</div><p class=\"note\">{}</p></figure>\n",
      render_svg(figure.plot), escape_html(figure.caption));
}

std::string claims_html(const Experiment& experiment, const Results& results) {
  std::string html;
  for (const Claim& claim : experiment.claims) {
    const auto conditions = claim.conditions(results);
    std::string measured;
    for (const Condition& condition : conditions) {
      measured +=
          fmt::format("<span class=\"sub\">{}</span>", escape_html(condition_text(condition)));
    }
    html += fmt::format(
        "<tr><td class=\"left\">{}<span class=\"sub\">{}</span></td>"
        "<td class=\"left\"><b>{}</b></td><td class=\"left\">{}</td></tr>\n",
        escape_html(claim.text), escape_html(claim.source), name_of(verdict_of(conditions)),
        measured);
  }
  return "<div class=\"card table\"><div class=\"scroll\"><table class=\"data\"><tbody>\n" + html +
         "</tbody></table></div></div>\n";
}

std::string lede(const Results& results) {
  const auto& document = results.document();
  std::string text = fmt::format(
      "{} seeds, {} arms, {} of one core's work on {}; intervals are of 95 % over seeds.",
      results.seeds().size(), results.arms().size(), readable_duration(document["core_seconds"]),
      document["machine"]["processor"].get<std::string>());
  if (results.quick()) text += " The quick form: its numbers say nothing.";
  const size_t remaining = document["remaining"].size();
  if (remaining > 0) text += fmt::format(" Not finished: {} stages remain.", remaining);
  return text;
}

}  // namespace

std::string render_experiment(const Experiment& experiment, const Results& results) {
  const Report report = experiment.report(results);
  std::string body = section("What the papers claim", claims_html(experiment, results));
  for (const Table& table : report.tables) {
    if (!table.rows.empty()) body += section(table.title, table_html(table));
  }
  std::string figures;
  for (const Figure& figure : report.figures) {
    if (!figure.plot.curves.empty()) figures += figure_html(figure);
  }
  if (!figures.empty()) body += section("Figures", "<div class=\"grid\">" + figures + "</div>");
  return render_document(results.document()["title"], lede(results), body);
}

}  // namespace unmask
