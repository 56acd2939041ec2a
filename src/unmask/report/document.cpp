#include "unmask/report/document.h"

#include "unmask/report/template.h"

namespace unmask {

// Files of report/page/, put into the program by report/CMakeLists.txt.
extern const char* const kDocumentHtml;
extern const char* const kPageCss;

std::string render_document(const std::string& title, const std::string& lede,
                            const std::string& body) {
  const Slot slots[] = {
      {"{{title}}", escape_html(title)},
      {"{{lede}}", escape_html(lede)},
      {"{{style}}", kPageCss},
      {"{{body}}", body},
  };
  return fill(kDocumentHtml, slots);
}

}  // namespace unmask
