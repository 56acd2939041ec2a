#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/readable.h"
#include "unmask/checkpoint/inventory.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/checkpoint/model_file.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/text/tokenizer.h"
#include "unmask/text/tokenizer_files.h"
#include "unmask/text/utf8.h"
#include "unmask/train/flops.h"

namespace unmask::cli {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct InspectArguments {
  std::string path;
  bool tensors = false;
  bool verify = false;
  bool json = false;
};

void line(std::string_view name, std::string_view value) { fmt::print("{:<16}{}\n", name, value); }

bool has_tokenizer(const std::string& directory) {
  for (const char* name : kTokenizerFiles) {
    if (path_exists(fs::path(directory) / name)) return true;
  }
  return false;
}

json special_token(const Tokenizer& tokenizer, std::optional<int32_t> id) {
  if (!id) return nullptr;
  return {{"id", *id}, {"text", tokenizer.token_text(*id)}};
}

// Null when there is none beside the model; {"error": why} when it cannot be used.
json tokenizer_summary(const std::string& directory) {
  if (!has_tokenizer(directory)) return nullptr;
  const auto loaded = Tokenizer::load(directory);
  if (!loaded) return json::object({{"error", to_valid_utf8(loaded.error().message)}});
  const Tokenizer& tokenizer = *loaded.value();
  return {{"ids", tokenizer.vocab_size()},
          {"mask", special_token(tokenizer, tokenizer.mask_token())},
          {"end", special_token(tokenizer, tokenizer.end_token())}};
}

json tensor_list(const auto& tensors) {
  json list = json::array();
  for (const auto& tensor : tensors) {
    list.push_back({{"name", tensor.name},
                    {"dtype", dtype_name(tensor.dtype)},
                    {"shape", tensor.shape},
                    {"bytes", tensor.elements() * dtype_bytes(tensor.dtype)}});
  }
  return list;
}

void print_tensors(const auto& tensors) {
  for (const auto& tensor : tensors) {
    fmt::print("{:<64} {:<4} {:<20} {:>10}\n", tensor.name, dtype_name(tensor.dtype),
               shape_text(tensor.shape),
               readable_bytes(tensor.elements() * dtype_bytes(tensor.dtype)));
  }
}

// Of a file alone nothing is known but its header.
Status inspect_file(const InspectArguments& arguments) {
  if (arguments.verify) {
    return usage_error("--verify: expected the directory of a packed model, found the file {}",
                       arguments.path);
  }
  UNMASK_TRY(const Safetensors archive, Safetensors::open(arguments.path));
  int64_t bytes = 0;
  for (const Tensor& tensor : archive.tensors()) bytes += std::ssize(tensor.bytes);
  if (arguments.json) {
    fmt::print("{}\n", to_text(json{{"file", arguments.path},
                                    {"bytes", bytes},
                                    {"metadata", archive.metadata()},
                                    {"tensors", tensor_list(archive.tensors())}},
                               2));
    return {};
  }
  line("file", fmt::format("{} tensors, {}", archive.tensors().size(), readable_bytes(bytes)));
  for (const auto& [key, value] : archive.metadata()) line(key, value);
  print_tensors(archive.tensors());
  return {};
}

// Averages over the lengths and mask ratios that the routing policy depends on.
double active_per_token(const ModelConfig& config) {
  constexpr int32_t kLength = 4096;
  return active_parameters(config, std::min(config.max_positions, kLength));
}

void print_model(const Inventory& model, const json& tokenizer) {
  const ModelConfig& c = model.config;
  const json document = model_config_to_json(c);
  line("family", document["unmask"]["family"].get<std::string>());
  line("form", fmt::format("{}, {}", model.packed ? "packed" : "checkpoint", model.format()));
  line("layers", c.dense_layers > 0 ? fmt::format("{}, the first {} dense of width {}", c.layers,
                                                  c.dense_layers, c.dense_ffn)
                                    : fmt::format("{}", c.layers));
  line("hidden", fmt::format("{}", c.hidden));
  line("attention",
       fmt::format("{} heads of {}, {} of keys and values; {}", c.heads, c.head_dim, c.kv_heads,
                   c.attention_block > 0 ? fmt::format("causal in blocks of {}", c.attention_block)
                                         : "full"));
  if (c.dense_layers < c.layers) {
    line("experts", fmt::format("{} of width {}, {} per token; shared width {}", c.experts,
                                c.expert_ffn, c.routing.experts_per_token, c.shared_ffn));
    line("routing", to_text(document["unmask"]["routing"]));
  }
  line("vocabulary", fmt::format("{}{}", c.vocab_size, c.tied_head ? ", tied head" : ""));
  line("positions", fmt::format("{}", c.max_positions));
  if (tokenizer.is_null()) {
    line("tokenizer", fmt::format("none; mask {}, end {}", c.mask_token, c.end_token));
  } else if (tokenizer.contains("error")) {
    line("tokenizer", "cannot be used: " + tokenizer["error"].get<std::string>());
  } else {
    const auto special = [](const json& token) {
      return token.is_null()
                 ? std::string("none")
                 : fmt::format("{} {}", token["id"].get<int32_t>(), to_text(token["text"]));
    };
    line("tokenizer", fmt::format("{} ids, mask {}, end {}", tokenizer["ids"].get<int32_t>(),
                                  special(tokenizer["mask"]), special(tokenizer["end"])));
  }
  const auto parameters = static_cast<double>(ParameterLayout(c).parameters());
  line("parameters", fmt::format("{}, {} per token", readable_count(parameters),
                                 readable_count(active_per_token(c))));
  line("bytes", readable_bytes(model.bytes()));
  for (const ParameterKind kind : kParameterKinds) {
    const int64_t bytes = model.bytes(kind);
    if (bytes == 0) continue;
    line(fmt::format("  {}", name_of(kind)),
         fmt::format("{:>9} {:5.1f}%", readable_bytes(bytes),
                     100.0 * static_cast<double>(bytes) / static_cast<double>(model.bytes())));
  }
}

json to_json(const Inventory& model, const json& tokenizer, bool tensors) {
  json bytes = {{"total", model.bytes()}};
  for (const ParameterKind kind : kParameterKinds) {
    bytes[std::string(name_of(kind))] = model.bytes(kind);
  }
  json result = {{"form", model.packed ? "packed" : "checkpoint"},
                 {"format", model.format()},
                 {"config", model_config_to_json(model.config)},
                 {"parameters", ParameterLayout(model.config).parameters()},
                 {"active_parameters", active_per_token(model.config)},
                 {"bytes", bytes},
                 {"tokenizer", tokenizer}};
  if (tensors) result["tensors"] = tensor_list(model.tensors);
  return result;
}

Status inspect_directory(const InspectArguments& arguments) {
  UNMASK_TRY(const std::string directory, find_checkpoint(arguments.path));
  if (arguments.verify && !is_packed(directory)) {
    return usage_error(
        "--verify: {} is a checkpoint, which has no checksums; expected a packed model", directory);
  }
  UNMASK_TRY(const Inventory model, take_inventory(directory));
  const json tokenizer = tokenizer_summary(directory);
  Status verified;
  if (arguments.verify) {
    UNMASK_TRY(const ModelFile file, ModelFile::open(directory));
    verified = file.verify();
  }
  if (arguments.json) {
    json document = to_json(model, tokenizer, arguments.tensors);
    if (arguments.verify) document["checksums"] = verified.ok() ? "as stored" : "differ";
    fmt::print("{}\n", to_text(document, 2));
  } else {
    print_model(model, tokenizer);
    if (arguments.tensors) print_tensors(model.tensors);
    if (arguments.verify && verified.ok()) line("checksums", "all as stored");
  }
  return verified;
}

Status inspect(const InspectArguments& arguments) {
  std::error_code code;
  return fs::is_regular_file(arguments.path, code) ? inspect_file(arguments)
                                                   : inspect_directory(arguments);
}

}  // namespace

void add_inspect(CLI::App& program, Run& run) {
  const auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command = program.add_subcommand(
      "inspect", "Show what a checkpoint, a packed model or a safetensors file holds");
  command->add_option("PATH", arguments->path, "Directory, training run or .safetensors file")
      ->required();
  command->add_flag("--tensors", arguments->tensors, "Every tensor");
  command->add_flag("--verify", arguments->verify,
                    "Read a packed model whole and compare its checksums");
  command->add_flag("--json", arguments->json, "Machine-readable output");
  command->callback([&run, arguments] { run = [arguments] { return inspect(*arguments); }; });
}

}  // namespace unmask::cli
