#pragma once

#include <string>

namespace unmask {

// One HTML file in the form of the report (page.h), without its controls: a title, a line below it,
// and a body of the caller's. Needs nothing else.
std::string render_document(const std::string& title, const std::string& lede,
                            const std::string& body);

}  // namespace unmask
