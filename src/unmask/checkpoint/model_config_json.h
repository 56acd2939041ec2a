#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/model/config.h"

namespace unmask {

// Of the `unmask` section.
inline constexpr int kConfigFormat = 1;
inline const std::initializer_list<std::pair<std::string_view, Family>> kFamilies = {
    {"unmask", Family::unmask},
    {"llada2", Family::llada2},
    {"llada_moe", Family::llada_moe},
    {"sdar_moe", Family::sdar_moe},
};

// The config.json of four families of checkpoints (docs/checkpoints.md):
//   LLaDA2     architectures LLaDA2MoeModelLM, model_type llada2_moe or llada2_moe_veomni
//   LLaDA-MoE  architectures LLaDAMoEModelLM or LLaDAMoEModel, model_type lladamoe
//   SDAR-MoE   architectures SDARMoeForCausalLM or SDARMoeModelLM, model_type sdar_moe (Qwen3-MoE,
//              block-causal)
//   our own    the LLaDA2 form with an `unmask` section, which holds what that form cannot say:
//              the routing policy, widths, the attention block
// Keys that do not change the computation are ignored; what would change it in a way that is not
// implemented is refused. `where` names the document in errors. The result is valid.
Result<ModelConfig> model_config_from_json(const nlohmann::json& document,
                                           const std::string& where);

// The inverse for every family, always with the `unmask` section. `stored`: the tensors' type.
nlohmann::json model_config_to_json(const ModelConfig& config, DType stored = DType::f32);

}  // namespace unmask
