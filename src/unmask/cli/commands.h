#pragma once

#include <functional>

#include "unmask/base/result.h"

namespace CLI {
class App;
}

namespace unmask::cli {

// Each subcommand lives in a file of its own: it adds itself to the program and leaves in `run`
// what to do when it was the one chosen.
using Run = std::function<Status()>;

void add_train(CLI::App& program, Run& run);
void add_generate(CLI::App& program, Run& run);
void add_evaluate(CLI::App& program, Run& run);
void add_tokenize(CLI::App& program, Run& run);
void add_report(CLI::App& program, Run& run);
void add_info(CLI::App& program, Run& run);

}  // namespace unmask::cli
