#pragma once

#include <cstdio>
#include <string>
#include <sys/wait.h>

namespace unmask::test {

struct Outcome {
  int exit_code = -1;
  std::string output;  // standard output and error together
};

// Runs the program with these arguments, as a person would in a shell.
inline Outcome run_unmask(const std::string& arguments) {
  const std::string command = std::string(UNMASK_BINARY) + " " + arguments + " 2>&1";
  Outcome outcome;
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char chunk[4096];
  while (const size_t n = fread(chunk, 1, sizeof chunk, pipe)) outcome.output.append(chunk, n);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace unmask::test
