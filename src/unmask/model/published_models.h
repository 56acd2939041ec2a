#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "unmask/base/result.h"
#include "unmask/model/config.h"

namespace unmask {

// <|mask|> and <|endoftext|> of the tokenizer that LLaDA2 and LLaDA-MoE share; the released LLaDA2
// configurations do not name them.
inline constexpr int32_t kLlada2Mask = 156895;
inline constexpr int32_t kLlada2End = 156892;
// <|role_end|>, and the edit tokens of LLaDA2.2, as its configuration names them.
inline constexpr int32_t kLlada2RoleEnd = 156900;
inline constexpr int32_t kLlada2Delete = 156930;
inline constexpr int32_t kLlada2Insert = 156931;

// The shapes of published models, as their config.json has them (docs/checkpoints.md):
// "llada2-mini, …"
std::string published_names();

// By name; the error lists the names.
Result<ModelConfig> published_model(std::string_view name);

}  // namespace unmask
