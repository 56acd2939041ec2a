#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>

#include "unmask/base/caught.h"
#include "unmask/base/document.h"
#include "unmask/base/version.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/interrupt.h"
#include "unmask/cli/validators.h"

namespace {

// Reading a mapped file behind its new end is a signal, not an error that could be returned.
void end_by_lost_mapping(int /*signal*/) {
  constexpr char kText[] =
      "unmask: a model or data file became shorter, or unreadable, while it was in use; start "
      "again\n";
  unmask::cli::say_farewell();
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText, sizeof kText - 1);
  _exit(1);
}

// What is closed would be taken by the next file that is opened, and written or read as if it were
// the terminal. It is opened the wrong way round, so that reading and writing still fail.
void open_standard_files() {
  for (int file = STDIN_FILENO; file <= STDERR_FILENO; ++file) {
    if (::fcntl(file, F_GETFD) >= 0) continue;
    ::open("/dev/null", file == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest that is free
  }
}

using unmask::Error;
using unmask::Status;

int exit_code(const Status& status) {
  if (status) return 0;
  std::fprintf(stderr, "unmask: %s\n", status.error().message.c_str());
  return status.error().kind == Error::Kind::usage ? 2 : 1;
}

// A word where a command belongs and none is of that name.
Status check_command(const CLI::App& program, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  if (argc < 2 || argv[1][0] == '-' || std::ranges::count(names, argv[1]) > 0) return {};
  return unmask::usage_error("no command \"{}\": did you mean \"{}\"? unmask --help lists them",
                             argv[1], unmask::nearest_name(argv[1], names));
}

// Of a command that was given, its commands that were, and its groups of options.
void add_option_names(const CLI::App& command, std::vector<std::string>& names) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const auto part = [](const CLI::App* app) { return app->parsed() || app->get_name().empty(); };
  for (const CLI::App* inner : command.get_subcommands(part)) add_option_names(*inner, names);
}

// An option that the command does not have, which may be the one that it misses.
Status check_options(const CLI::App& program, int argc, char** argv) {
  if (std::find(argv, argv + argc, std::string_view("--")) != argv + argc) return {};
  std::vector<std::string> names;
  add_option_names(program, names);
  for (const std::string& word : program.remaining(/*recurse=*/true)) {
    if (!word.starts_with("--")) continue;
    const std::string given = word.substr(0, word.find('='));
    return unmask::usage_error("no option \"{}\": did you mean \"{}\"? --help lists them", given,
                               unmask::nearest_name(given, names));
  }
  return {};
}

// What is printed counts as done only when it has been written.
Status flush_output() {
  if (std::fflush(stdout) != 0) {
    return unmask::failure("cannot write to standard output: {}", std::strerror(errno));
  }
  if (std::ferror(stdout) != 0) return unmask::failure("could not write all of standard output");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_files();
  std::signal(SIGBUS, end_by_lost_mapping);
  std::signal(SIGXFSZ, SIG_IGN);  // a write that is too much fails, and says so
  CLI::App program("unmask: Mixture-of-Experts masked diffusion language models on CPUs");
  program.require_subcommand(1);
  program.set_version_flag("--version", std::string(unmask::version()));
  program.set_help_all_flag("--help-all", "Help of every command");
  program.failure_message([](const CLI::App* /*program*/, const CLI::Error& error) {
    return fmt::format("unmask: {}\nRun with --help for more information.\n", error.what());
  });
  unmask::cli::Run run;
  for (const auto add : unmask::cli::kCommands) add(program, run);
  unmask::cli::expect_decimal_numbers(program);
  if (const Status status = check_command(program, argc, argv); !status) return exit_code(status);

  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const bool unknown = dynamic_cast<const CLI::RequiredError*>(&e) != nullptr ||
                         dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr;
    if (const Status known = unknown ? check_options(program, argc, argv) : Status(); !known) {
      return exit_code(known);
    }
    const int code = program.exit(e) == 0 ? 0 : 2;
    const Status written = flush_output();
    return written ? code : exit_code(written);
  }
  const Status done = unmask::caught(run);
  return exit_code(done ? flush_output() : done);
}
