#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "unmask/base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace unmask {

// Work memory of matching: one for each thread.
class MatchMemory {
 public:
  MatchMemory();

 private:
  friend class Regex;
  struct Free {
    void operator()(pcre2_real_match_data_8* p) const;
    void operator()(pcre2_real_match_context_8* p) const;
    void operator()(pcre2_real_jit_stack_8* p) const;
  };
  std::unique_ptr<pcre2_real_jit_stack_8, Free> stack_;
  std::unique_ptr<pcre2_real_match_context_8, Free> context_;
  std::unique_ptr<pcre2_real_match_data_8, Free> match_;
};

// A regular expression of a tokenizer over valid UTF-8, with Unicode classes. Read-only after
// compilation, so threads share it.
class Regex {
 public:
  // The dialect of tokenizer.json (Oniguruma) as far as it agrees with PCRE2; \s, \w, \h, ^, $
  // and scripts mean what they mean there. A feature that would silently mean something else is an
  // error.
  static Result<Regex> compile(std::string_view pattern);
  // Matches exactly this text.
  static Result<Regex> compile_literal(std::string_view text);

  struct Match {
    size_t begin = 0;
    size_t end = 0;
    bool found = false;
  };
  // The first match in `text` at or behind `from`. Fails when the pattern needs too much memory.
  Result<Match> find(std::string_view text, size_t from, MatchMemory& memory) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* p) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace unmask
