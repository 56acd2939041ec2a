#pragma once

#include <cstdio>
#include <string>
#include <sys/wait.h>

namespace unmask::test {

struct Outcome {
  int exit_code = -1;
  std::string output;  // standard output and error together
};

// Runs a command line in a shell.
inline Outcome run_shell(const std::string& command) {
  Outcome outcome;
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  char chunk[4096];
  while (const size_t n = fread(chunk, 1, sizeof chunk, pipe)) outcome.output.append(chunk, n);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

// Runs the program with these arguments, as a person would in a shell.
inline Outcome run_unmask(const std::string& arguments) {
  return run_shell(std::string(UNMASK_BINARY) + " " + arguments);
}

}  // namespace unmask::test
