#define PCRE2_CODE_UNIT_WIDTH 8
#include "unmask/text/regex.h"

#include <cstdint>
#include <limits>
#include <new>
#include <pcre2.h>

namespace unmask {
namespace {

constexpr size_t kJitStack = size_t{64} << 20;  // grown only when a pattern backtracks that far

// PCRE2 10.42 counts U+180E as space and no marks as word characters; the property White_Space and
// Unicode's words are spelled out instead.
constexpr std::string_view kSpace = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{N}\p{Pc})";
constexpr std::string_view kHexDigit = "0-9a-fA-F";  // \h of Oniguruma; PCRE2's is a blank

// The members of a class that is written as one letter; empty for others.
std::string_view members_of(char letter) {
  switch (letter) {
    case 's':
    case 'S':
      return kSpace;
    case 'w':
    case 'W':
      return kWord;
    case 'h':
    case 'H':
      return kHexDigit;
    default:
      return "";
  }
}

Result<pcre2_code_8*> compile_pcre2(std::string_view pattern, uint32_t options) {
  int error = 0;
  size_t offset = 0;
  pcre2_code_8* code =
      pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(pattern.data()), pattern.size(),
                      PCRE2_UTF | options, &error, &offset, nullptr);
  if (code == nullptr) {
    char message[128] = {};
    pcre2_get_error_message_8(error, reinterpret_cast<PCRE2_UCHAR8*>(message), sizeof message);
    return failure("regex {}: {} at offset {}", pattern, message, offset);
  }
  return code;
}

// Whether a pattern behind \p goes on with the name of a script. PCRE2 would take the characters
// that some text of the script uses, such as 。 in {Han}, for Oniguruma's: those that are of it.
bool begins_script(std::string_view pattern) {
  const size_t end = pattern.find('}');
  if (!pattern.starts_with('{') || end == pattern.npos || end <= 3) return false;
  const auto script =
      compile_pcre2(fmt::format("\\p{{sc:{}}}", pattern.substr(1, end - 1)), PCRE2_UCP);
  if (script.ok()) pcre2_code_free_8(*script);
  return script.ok();
}

Result<std::string> to_pcre2(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  size_t class_begin = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char letter = pattern[++i];
      const bool negated = letter == 'S' || letter == 'W' || letter == 'H';
      const std::string_view members = members_of(letter);
      if ((letter == 'p' || letter == 'P') && begins_script(pattern.substr(i + 1))) {
        out.append({c, letter}).append("{sc:");
        ++i;
      } else if (members.empty()) {
        out.append({c, letter});
      } else if (in_class && negated) {
        return failure("regex {}: \\{} inside a character class is not supported", pattern, letter);
      } else {
        out += in_class ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members);
      }
      continue;
    }
    if (in_class) {
      if (c == '[' || (c == '&' && i + 1 < pattern.size() && pattern[i + 1] == '&')) {
        return failure("regex {}: character classes inside classes are not supported", pattern);
      }
      const bool first = i == class_begin || (i == class_begin + 1 && pattern[class_begin] == '^');
      if (c == ']' && !first) in_class = false;
    } else if (c == '[') {
      in_class = true;
      class_begin = i + 1;
    }
    out.push_back(c);
  }
  return out;
}

}  // namespace

void MatchMemory::Free::operator()(pcre2_match_data_8* p) const { pcre2_match_data_free_8(p); }
void MatchMemory::Free::operator()(pcre2_match_context_8* p) const {
  pcre2_match_context_free_8(p);
}
void MatchMemory::Free::operator()(pcre2_jit_stack_8* p) const { pcre2_jit_stack_free_8(p); }
void Regex::Free::operator()(pcre2_code_8* p) const { pcre2_code_free_8(p); }

MatchMemory::MatchMemory()
    : stack_(pcre2_jit_stack_create_8(32 * 1024, kJitStack, nullptr)),
      context_(pcre2_match_context_create_8(nullptr)),
      match_(pcre2_match_data_create_8(1, nullptr)) {
  if (stack_ == nullptr || context_ == nullptr || match_ == nullptr) throw std::bad_alloc();
  pcre2_jit_stack_assign_8(context_.get(), nullptr, stack_.get());
  // Long runs of white space are gone through once for each of their ends.
  pcre2_set_match_limit_8(context_.get(), std::numeric_limits<uint32_t>::max());
}

Result<Regex> Regex::compile(std::string_view pattern) {
  UNMASK_TRY(const std::string translated, to_pcre2(pattern));
  UNMASK_TRY(pcre2_code_8* const code, compile_pcre2(translated, PCRE2_UCP | PCRE2_MULTILINE));
  Regex regex;
  regex.code_.reset(code);
  pcre2_jit_compile_8(code, PCRE2_JIT_COMPLETE);  // without it matching is the same, but slower
  return regex;
}

Result<Regex> Regex::compile_literal(std::string_view text) {
  UNMASK_TRY(pcre2_code_8* const code, compile_pcre2(text, PCRE2_LITERAL));
  Regex regex;
  regex.code_.reset(code);
  pcre2_jit_compile_8(code, PCRE2_JIT_COMPLETE);
  return regex;
}

Result<Regex::Match> Regex::find(std::string_view text, size_t from, MatchMemory& memory) const {
  const int count =
      pcre2_match_8(code_.get(), reinterpret_cast<PCRE2_SPTR8>(text.data()), text.size(), from,
                    PCRE2_NO_UTF_CHECK, memory.match_.get(), memory.context_.get());
  if (count == PCRE2_ERROR_NOMATCH) return Match{};
  if (count < 0) {
    char message[128] = {};
    pcre2_get_error_message_8(count, reinterpret_cast<PCRE2_UCHAR8*>(message), sizeof message);
    return failure("the tokenizer's regex fails near offset {} of a text: {}", from, message);
  }
  const size_t* range = pcre2_get_ovector_pointer_8(memory.match_.get());
  return Match{range[0], range[1], true};
}

}  // namespace unmask
