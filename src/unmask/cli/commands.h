#pragma once

#include <functional>
#include <vector>

#include "unmask/base/result.h"

namespace CLI {
class App;
}

namespace unmask::cli {

// Each subcommand lives in a file of its own: its `add` function adds itself to the program and
// leaves in `run` what to do when it was the one chosen.
using Run = std::function<Status()>;
using Add = void (*)(CLI::App& program, Run& run);

void add_bench(CLI::App& program, Run& run);
void add_chat(CLI::App& program, Run& run);
void add_convert(CLI::App& program, Run& run);
void add_distill(CLI::App& program, Run& run);
void add_evaluate(CLI::App& program, Run& run);
void add_experiment(CLI::App& program, Run& run);
void add_generate(CLI::App& program, Run& run);
void add_info(CLI::App& program, Run& run);
void add_init(CLI::App& program, Run& run);
void add_inspect(CLI::App& program, Run& run);
void add_report(CLI::App& program, Run& run);
void add_retrofit(CLI::App& program, Run& run);
void add_route(CLI::App& program, Run& run);
void add_schedule(CLI::App& program, Run& run);
void add_task(CLI::App& program, Run& run);
void add_tokenize(CLI::App& program, Run& run);
void add_train(CLI::App& program, Run& run);

inline constexpr Add kCommands[] = {
    add_bench,    add_chat,     add_convert, add_distill,  add_evaluate, add_experiment,
    add_generate, add_info,     add_init,    add_inspect,  add_report,   add_retrofit,
    add_route,    add_schedule, add_task,    add_tokenize, add_train,
};

}  // namespace unmask::cli
