#pragma once

#include <string>
#include <vector>

#include "unmask/base/result.h"

namespace unmask {

// docs/results.md: every claim of the papers, what ROOT/NAME/results.json say about it, and why.
// Claims of experiments without results are there too. Nothing in it is typed by hand but the
// claims themselves and the sentences that belong to each verdict (claims.h).
Result<std::string> results_document(const std::string& root);

// Copies OUT/NAME/results.json to ROOT/NAME/results.json for every experiment whose full form was
// run there, unless what is there has more stages done. Returns the names that were copied.
Result<std::vector<std::string>> adopt_results(const std::string& out, const std::string& root);

}  // namespace unmask
