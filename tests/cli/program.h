#pragma once

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

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

// Starts the program in a process of its own.
inline pid_t start_unmask(std::vector<std::string> arguments) {
  const pid_t child = fork();
  if (child != 0) return child;
  std::string program = UNMASK_BINARY;
  std::vector<char*> words = {program.data()};
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  execv(UNMASK_BINARY, words.data());
  _exit(127);
}

// Kills it at once; whether it was still running.
inline bool kill_running(pid_t child) {
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status);
}

// Until the condition holds, for a minute at most.
template <class Condition>
bool wait_for(Condition condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// The bytes of a file; none where there is none.
inline std::string slurp(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline const std::string kSource = UNMASK_SOURCE_DIR;
inline const std::string kModel = kSource + "/tests/data/golden/D_model_tiny16";

// What a command prints with --json.
inline nlohmann::json json_of(const std::string& arguments) {
  const Outcome outcome = run_unmask(arguments + " --json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  return json_in(outcome.output);
}

inline void expect_error(const std::string& arguments, int exit_code, const std::string& part) {
  const Outcome outcome = run_unmask(arguments);
  EXPECT_EQ(outcome.exit_code, exit_code) << arguments << "\n" << outcome.output;
  EXPECT_NE(outcome.output.find(part), std::string::npos) << arguments << "\n" << outcome.output;
}

}  // namespace unmask::test
