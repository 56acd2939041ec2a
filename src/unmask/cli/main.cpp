#include <csignal>
#include <cstdio>
#include <string>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "unmask/base/version.h"
#include "unmask/cli/commands.h"

namespace {

// Reading a mapped file behind its new end is a signal, not an error that could be returned.
void end_by_lost_mapping(int /*signal*/) {
  constexpr char kText[] =
      "unmask: a model or data file became shorter, or unreadable, while it was in use; start "
      "again\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText, sizeof kText - 1);
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  using unmask::Error;
  std::signal(SIGBUS, end_by_lost_mapping);
  CLI::App program("unmask: Mixture-of-Experts masked diffusion language models on CPUs");
  program.require_subcommand(1);
  program.set_version_flag("--version", std::string(unmask::version()));
  program.set_help_all_flag("--help-all", "Help of every subcommand");
  unmask::cli::Run run;
  for (const auto add : unmask::cli::kCommands) add(program, run);

  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return program.exit(e) == 0 ? 0 : 2;
  }
  if (const unmask::Status status = run(); !status) {
    std::fprintf(stderr, "unmask: %s\n", status.error().message.c_str());
    return status.error().kind == Error::Kind::usage ? 2 : 1;
  }
  return 0;
}
