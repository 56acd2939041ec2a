#include "unmask/text/huggingface_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/text/byte_level.h"
#include "unmask/text/byte_tokenizer.h"
#include "unmask/text/utf8.h"

namespace unmask {
namespace {

using nlohmann::json;

constexpr int64_t kMaxVocabulary = int64_t{1} << 24;  // a lying id must not make us allocate
constexpr size_t kMaxText = size_t{1} << 30;

bool is_set(const json& object, const char* key) {
  const auto entry = object.find(key);
  return entry != object.end() && !entry->is_null() && *entry != json("") && *entry != 0;
}

// "a b" or ["a", "b"].
Result<std::pair<std::string, std::string>> merge_parts(const json& merge) {
  if (merge.is_array() && merge.size() == 2) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos) return std::pair(text.substr(0, space), text.substr(space + 1));
  }
  return failure("merge {}: expected \"a b\" or [\"a\", \"b\"]", to_text(merge));
}

// A sequence of one part is that part.
json only_part(const json& whole, const char* parts) {
  const bool sequence = whole.is_object() && whole.value("type", "") == "Sequence" &&
                        whole.contains(parts) && whole[parts].size() == 1;
  return sequence ? whole[parts][0] : whole;
}

}  // namespace

// Work memory for the time of one call; threads that call at the same time get different ones.
class HuggingFaceTokenizer::Lease {
 public:
  explicit Lease(const HuggingFaceTokenizer& owner) : owner_(owner) {
    const std::lock_guard lock(owner.mutex_);
    if (!owner.idle_.empty()) {
      memory_ = std::move(owner.idle_.back());
      owner.idle_.pop_back();
    } else {
      memory_ = std::make_unique<Memory>();
    }
  }
  ~Lease() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(memory_));
  }
  Memory& operator*() { return *memory_; }
  Memory* operator->() { return memory_.get(); }

 private:
  const HuggingFaceTokenizer& owner_;
  std::unique_ptr<Memory> memory_;
};

Result<std::unique_ptr<Tokenizer>> HuggingFaceTokenizer::parse(std::string text,
                                                               const std::string& where,
                                                               const TokenizerConfig& config) {
  UNMASK_TRY(const json description, parse_json(text, where));
  try {
    if (auto bytes = ByteTokenizer::recognise(description, config.special)) {
      return std::unique_ptr<Tokenizer>(std::move(bytes));
    }
    std::unique_ptr<HuggingFaceTokenizer> tokenizer(new HuggingFaceTokenizer);
    tokenizer->json_ = std::move(text);
    if (const Status status = tokenizer->read(description, config); !status) {
      return failure("{}: {}", where, status.error().message);
    }
    return std::unique_ptr<Tokenizer>(std::move(tokenizer));
  } catch (const json::exception& e) {
    return failure("{}: not the form of a tokenizer.json: {}", where, e.what());
  }
}

Status HuggingFaceTokenizer::read(const json& description, const TokenizerConfig& config) {
  const json& model = description.at("model");
  if (const std::string type = model.value("type", "BPE"); type != "BPE") {
    return failure("model {} is not supported, only BPE", type);
  }
  for (const char* feature : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (is_set(model, feature)) {
      return failure("model with {} = {} is not supported", feature, to_text(model.at(feature)));
    }
  }
  if (const json decoder = only_part(description.value("decoder", json()), "decoders");
      decoder.is_object() && decoder.value("type", "") != "ByteLevel") {
    return failure("decoder {} is not supported, only ByteLevel", decoder.value("type", ""));
  }
  if (description.contains("normalizer")) {
    UNMASK_TRY_STATUS(read_normalizer(description["normalizer"]));
  }
  UNMASK_TRY(pre_tokenizer_, PreTokenizer::parse(description.value("pre_tokenizer", json())));
  UNMASK_TRY_STATUS(read_vocabulary(model.at("vocab")));
  UNMASK_TRY_STATUS(read_merges(model));
  UNMASK_TRY_STATUS(read_added_tokens(description.value("added_tokens", json::array())));
  if (config.added_tokens.is_object()) {
    UNMASK_TRY_STATUS(read_tokens_of_config(config.added_tokens));
  }
  UNMASK_TRY_STATUS(choose_special_tokens(config.special));
  return find_whether_lines_separate();
}

Status HuggingFaceTokenizer::read_normalizer(const json& normalizer) {
  if (normalizer.is_null()) return {};
  const std::string type = normalizer.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const json& part : normalizer.at("normalizers")) UNMASK_TRY_STATUS(read_normalizer(part));
    return {};
  }
  if (type != "NFC") return failure("normalizer {} is not supported, only NFC", type);
  nfc_ = true;
  return {};
}

void HuggingFaceTokenizer::set_token(int32_t id, std::string text) {
  if (texts_.size() <= static_cast<size_t>(id)) texts_.resize(static_cast<size_t>(id) + 1);
  texts_[static_cast<size_t>(id)] = std::move(text);
}

Status HuggingFaceTokenizer::read_vocabulary(const json& vocabulary) {
  for (const auto& [name, number] : vocabulary.items()) {
    const auto id = number.get<int64_t>();
    if (id < 0 || id >= kMaxVocabulary) return failure("token {}: impossible id {}", name, id);
    set_token(static_cast<int32_t>(id), from_byte_level(name).value_or(name));
    ids_.emplace(name, static_cast<int32_t>(id));
  }
  return {};
}

Status HuggingFaceTokenizer::read_merges(const json& model) {
  std::array<int32_t, 256> byte_token;
  for (int byte = 0; byte < 256; ++byte) {
    const auto token = ids_.find(to_byte_level(static_cast<uint8_t>(byte)));
    // Vocabularies may lack the bytes that UTF-8 never contains.
    const bool in_utf8 = byte != 0xC0 && byte != 0xC1 && byte <= 0xF4;
    if (token == ids_.end() && in_utf8) {
      return failure("the vocabulary lacks byte 0x{:02x}; only byte-level BPE is supported", byte);
    }
    byte_token[byte] = token == ids_.end() ? -1 : token->second;
  }
  std::vector<BytePairEncoder::Merge> merges;
  const json& list = model.at("merges");
  merges.reserve(list.size());
  for (const json& entry : list) {
    UNMASK_TRY(const auto parts, merge_parts(entry));
    const auto left = ids_.find(parts.first);
    const auto right = ids_.find(parts.second);
    const auto joined = ids_.find(parts.first + parts.second);
    if (left == ids_.end() || right == ids_.end() || joined == ids_.end()) {
      return failure("merge {}: not all of its tokens are in the vocabulary", to_text(entry));
    }
    merges.push_back({left->second, right->second, joined->second});
  }
  encoder_.emplace(byte_token, merges);
  if (model.value("ignore_merges", false)) {
    std::unordered_map<std::string, int32_t> words;
    for (const auto& [name, id] : ids_) words.emplace(texts_[static_cast<size_t>(id)], id);
    encoder_->set_whole_words(std::move(words));
  }
  return {};
}

Status HuggingFaceTokenizer::read_added_tokens(const json& tokens) {
  for (const json& token : tokens) {
    const std::string content = token.at("content").get<std::string>();
    const auto id = token.at("id").get<int64_t>();
    if (id < 0 || id >= kMaxVocabulary) return failure("token {}: impossible id {}", content, id);
    if (token.value("single_word", false)) {
      return failure("added token {}: single_word is not supported", content);
    }
    added_.insert(content);
    const auto known = ids_.emplace(content, static_cast<int32_t>(id)).first;
    if (known->second != id) {
      return failure("added token {} has id {}, but {} in the vocabulary", content, id,
                     known->second);
    }
    set_token(static_cast<int32_t>(id), content);
    const bool normalized = token.value("normalized", false);
    AddedTokens::Token added = {normalized && nfc_ ? to_nfc(content) : content,
                                static_cast<int32_t>(id), token.value("lstrip", false),
                                token.value("rstrip", false)};
    (normalized ? normalized_tokens_ : raw_tokens_).add(std::move(added));
  }
  return {};
}

Status HuggingFaceTokenizer::read_tokens_of_config(const json& tokens) {
  std::map<int64_t, json> in_order;
  for (const auto& [id, token] : tokens.items()) {
    int64_t number = -1;
    const char* const end = id.data() + id.size();
    if (std::from_chars(id.data(), end, number).ptr != end) {
      return failure("added_tokens_decoder of tokenizer_config.json: expected ids, found {}", id);
    }
    const std::string content = token.at("content").get<std::string>();
    if (added_.contains(content)) continue;
    const auto known = ids_.find(content);
    json entry = token;
    entry["id"] = known == ids_.end() ? number : known->second;
    in_order.emplace(number, std::move(entry));
  }
  for (auto& [id, entry] : in_order) declared_.push_back(std::move(entry));
  return read_added_tokens(declared_);
}

Result<int32_t> HuggingFaceTokenizer::special_token(const std::string& name) {
  UNMASK_TRY_STATUS(check_utf8(name));
  const auto known = ids_.find(name);
  if (known != ids_.end()) return known->second;
  const int32_t id = vocab_size();
  declared_.push_back({{"id", id},
                       {"content", name},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
  UNMASK_TRY_STATUS(read_added_tokens(json::array({declared_.back()})));
  return id;
}

Status HuggingFaceTokenizer::choose_special_tokens(const SpecialTokens& special) {
  const auto choose = [&](const std::optional<std::string>& name, const auto& usual,
                          std::optional<int32_t>& id) -> Status {
    if (name) {
      UNMASK_TRY(id, special_token(*name));
      return {};
    }
    for (const char* candidate : usual) {
      if ((id = token_id(candidate))) break;
    }
    return {};
  };
  UNMASK_TRY_STATUS(choose(special.mask, kUsualMaskNames, mask_token_));
  return choose(special.end, kUsualEndNames, end_token_);
}

// Matching goes from left to right and never looks back, so a word that ends at a letter in front
// of a newline does so whatever comes before and behind the sample.
Status HuggingFaceTokenizer::find_whether_lines_separate() {
  separates_lines_ = !pre_tokenizer_->adds_prefix_space();
  MatchMemory memory;
  std::vector<std::string_view> words;
  for (const std::string_view sample :
       {"ba\n", "ba\nb", "ba\n\n b", "ba\n  b", "b a\n.", " a\n\tb"}) {
    UNMASK_TRY_STATUS(pre_tokenizer_->split(sample, memory, words));
    const size_t newline = sample.find('\n');
    bool cut = false;
    for (const std::string_view word : words) cut = cut || word.data() == sample.data() + newline;
    separates_lines_ = separates_lines_ && cut;
  }
  return {};
}

std::optional<int32_t> HuggingFaceTokenizer::token_id(std::string_view name) const {
  const auto found = ids_.find(std::string(name));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::string HuggingFaceTokenizer::token_text(int32_t id) const {
  return id >= 0 && id < vocab_size() ? texts_[static_cast<size_t>(id)] : std::string();
}

Result<std::vector<int32_t>> HuggingFaceTokenizer::encode(std::string_view text) const {
  return encode(text, true);
}

Result<std::vector<int32_t>> HuggingFaceTokenizer::encode_behind(std::string_view text) const {
  return encode(text, false);
}

// `begins`: the text stands behind no other. What follows an added token always begins anew.
Result<std::vector<int32_t>> HuggingFaceTokenizer::encode(std::string_view text,
                                                          bool begins) const {
  if (text.size() > kMaxText) {
    return failure("expected a text of at most {} bytes, found {}", kMaxText, text.size());
  }
  UNMASK_TRY_STATUS(check_utf8(text));
  Lease memory(*this);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  std::vector<AddedTokens::Section> raw;
  raw_tokens_.split(text, raw);
  for (const AddedTokens::Section& section : raw) {
    if (section.id >= 0) {
      ids.push_back(section.id);
    } else {
      UNMASK_TRY_STATUS(encode_section(section.text, begins, *memory, ids));
    }
    begins = true;
  }
  return ids;
}

Status HuggingFaceTokenizer::encode_section(std::string_view text, bool begins, Memory& memory,
                                            std::vector<int32_t>& ids) const {
  const std::string normal = nfc_ ? to_nfc(text) : std::string();
  if (nfc_) text = normal;
  memory.sections.clear();
  normalized_tokens_.split(text, memory.sections);
  for (const AddedTokens::Section& section : memory.sections) {
    const bool prefixes = std::exchange(begins, true) && pre_tokenizer_->adds_prefix_space();
    if (section.id >= 0) {
      ids.push_back(section.id);
      continue;
    }
    std::string prefixed;
    std::string_view piece = section.text;
    if (prefixes && !piece.starts_with(' ')) {
      prefixed.assign(1, ' ').append(piece);
      piece = prefixed;
    }
    UNMASK_TRY_STATUS(pre_tokenizer_->split(piece, memory.match, memory.words));
    for (const std::string_view word : memory.words) encoder_->encode(word, memory.merging, ids);
  }
  return {};
}

void HuggingFaceTokenizer::finish_decoding(std::string& text) const {
  if (pre_tokenizer_->adds_prefix_space() && text.starts_with(' ')) text.erase(0, 1);
}

Status HuggingFaceTokenizer::save(const std::string& directory) const {
  const auto name_of = [&](std::optional<int32_t> id) { return id ? token_text(*id) : ""; };
  std::string text = json_;
  if (!declared_.empty()) {
    json description = json_in(json_);
    json tokens = declared_;
    for (json& token : description["added_tokens"]) {
      const auto same = [&](const json& other) { return other["id"] == token["id"]; };
      if (std::ranges::none_of(declared_, same)) tokens.push_back(std::move(token));
    }
    description["added_tokens"] = std::move(tokens);
    text = to_text(description, 1);
  }
  const std::string path = (std::filesystem::path(directory) / "tokenizer.json").string();
  UNMASK_TRY_STATUS(write_file_atomically(path, text));
  return write_tokenizer_config(directory, "PreTrainedTokenizerFast", name_of(mask_token_),
                                name_of(end_token_), chat_template_);
}

}  // namespace unmask
