#include "unmask/checkpoint/checkpoint_source.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/ranges.h>

#include "unmask/checkpoint/tensor_form.h"

namespace unmask {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f64;
}

// What some checkpoints carry along: tables of constants, and the value head of training by
// reinforcement.
bool is_ignorable(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.starts_with("v_head.");
}

// Matches the tensors of an archive with the forms that a configuration wants.
class Matcher {
 public:
  Matcher(const Safetensors& archive, size_t parameters)
      : archive_(archive), segments_(parameters) {}

  void expect(const TensorForm& form) {
    const auto merged = std::ranges::find_if(
        form.merged, [&](const MergedExperts& m) { return archive_.find(m.name) != nullptr; });
    if (merged != form.merged.end()) return expect(*merged, form.parts.front().parameter);
    for (const StoredTensor& part : form.parts) {
      const Tensor* const tensor = fitting(part.name, part.shape);
      if (tensor == nullptr) continue;
      of(part.parameter).push_back({part.first, tensor, 0, part.elements()});
    }
  }

  // A tied head may be stored all the same, if it really is the embedding.
  void permit_tied_head(const std::string& embedding) {
    const Tensor* head = archive_.find("lm_head.weight");
    const Tensor* source = archive_.find(embedding);
    if (head == nullptr || source == nullptr) return;
    expected_.insert(head->name);
    if (!same_values(*head, *source)) {
      problem("{}: differs from {}, although tie_word_embeddings is true", archive_.where(*head),
              embedding);
    }
  }

  // LLaDA2's own code saves a selection bias, which stays zero, where the configuration has none.
  void permit_zero_bias(const ModelConfig& config) {
    for (int32_t i = config.dense_layers; i < config.layers; ++i) {
      const Tensor* bias = archive_.find(fmt::format("model.layers.{}.mlp.gate.expert_bias", i));
      if (bias == nullptr) continue;
      expected_.insert(bias->name);
      if (std::ranges::count(bias->bytes, std::byte{}) < std::ssize(bias->bytes)) {
        problem("{}: not zero, although moe_router_enable_expert_bias is false",
                archive_.where(*bias));
      }
    }
  }

  void report_unexpected() {
    for (const Tensor& tensor : archive_.tensors()) {
      if (expected_.contains(tensor.name) || is_ignorable(tensor.name)) continue;
      problem("{}: unexpected: the configuration has no such parameter", archive_.where(tensor));
    }
  }

  Status status(const std::string& directory) const {
    if (problems_ == 0) return {};
    std::string more;
    if (problems_ > lines_.size()) more = fmt::format("\n  and {} more", problems_ - lines_.size());
    return failure("{}: the weights do not fit config.json:\n  {}{}", directory,
                   fmt::join(lines_, "\n  "), more);
  }

  std::vector<std::vector<CheckpointSource::Segment>> take_segments() {
    return std::move(segments_);
  }

 private:
  static constexpr size_t kShown = 100;

  template <class... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    if (++problems_ <= kShown) lines_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  // As numbers, of whatever types they are.
  bool same_values(const Tensor& a, const Tensor& b) const {
    if (!is_float(a.dtype) || !is_float(b.dtype) || a.shape != b.shape) return false;
    constexpr int64_t kPiece = 1 << 16;
    std::vector<float> of_a(kPiece), of_b(kPiece);
    for (int64_t first = 0; first < a.elements(); first += kPiece) {
      const auto count = static_cast<size_t>(std::min(kPiece, a.elements() - first));
      const auto values_a = std::span(of_a).first(count), values_b = std::span(of_b).first(count);
      archive_.read_once(a, first, values_a);
      archive_.read_once(b, first, values_b);
      if (!std::ranges::equal(values_a, values_b)) return false;
    }
    return true;
  }

  void expect(const MergedExperts& merged, int parameter) {
    const Tensor* const tensor = fitting(merged.name, merged.shape);
    if (tensor == nullptr) return;
    const int64_t runs = merged.sharing == 1 ? 1 : merged.shape[0];
    const int64_t size = tensor->elements() / (runs * merged.sharing);
    for (int64_t e = 0; e < runs; ++e) {
      of(parameter).push_back({e * size, tensor, (e * merged.sharing + merged.index) * size, size});
    }
  }

  std::vector<CheckpointSource::Segment>& of(int parameter) {
    return segments_[static_cast<size_t>(parameter)];
  }

  // Null, with a problem more, when there is none.
  const Tensor* fitting(const std::string& name, const std::vector<int64_t>& shape) {
    expected_.insert(name);
    const Tensor* const tensor = archive_.find(name);
    if (tensor == nullptr) {
      problem("tensor \"{}\": missing, expected {}", name, shape_text(shape));
    } else if (tensor->shape != shape) {
      problem("{}: expected shape {}, found {}", archive_.where(*tensor), shape_text(shape),
              shape_text(tensor->shape));
    } else if (!is_float(tensor->dtype)) {
      problem("{}: expected floating-point numbers, found {}", archive_.where(*tensor),
              dtype_name(tensor->dtype));
    } else {
      return tensor;
    }
    return nullptr;
  }

  const Safetensors& archive_;
  std::unordered_set<std::string> expected_;
  std::vector<std::vector<CheckpointSource::Segment>> segments_;
  std::vector<std::string> lines_;
  size_t problems_ = 0;
};

}  // namespace

Result<CheckpointSource> CheckpointSource::open(const std::string& directory,
                                                const ModelConfig& config) {
  UNMASK_TRY(Safetensors archive, Safetensors::open_directory(directory));
  CheckpointSource source(config, std::move(archive));
  const auto forms = tensor_forms(config, source.layout());
  Matcher matcher(source.archive_, forms.size());
  for (const TensorForm& form : forms) matcher.expect(form);
  if (config.tied_head) {
    const auto embedding = static_cast<size_t>(source.layout().embedding);
    matcher.permit_tied_head(forms[embedding].parts[0].name);
  }
  if (config.family == Family::llada2 && !config.expert_bias) {
    matcher.permit_zero_bias(config);
  }
  matcher.report_unexpected();
  UNMASK_TRY_STATUS(matcher.status(directory));
  source.segments_ = matcher.take_segments();
  return source;
}

// The last segment that begins at or before the element.
size_t CheckpointSource::segment_at(int parameter, int64_t element) const {
  const auto& all = segments(parameter);
  const auto after = std::upper_bound(all.begin(), all.end(), element,
                                      [](int64_t e, const Segment& s) { return e < s.first; });
  UNMASK_CHECK(after != all.begin());
  return static_cast<size_t>(after - all.begin()) - 1;
}

void CheckpointSource::read(int parameter, int64_t first, std::span<float> out) const {
  for (size_t i = segment_at(parameter, first); !out.empty(); ++i) {
    const Segment& segment = segments(parameter).at(i);
    const int64_t from = first - segment.first;
    const int64_t count = std::min<int64_t>(segment.count - from, std::ssize(out));
    archive_.read_once(*segment.tensor, segment.begin + from,
                       out.first(static_cast<size_t>(count)));
    out = out.subspan(static_cast<size_t>(count));
    first += count;
  }
}

std::string CheckpointSource::where(int parameter, int64_t element) const {
  const Segment& segment = segments(parameter)[segment_at(parameter, element)];
  return fmt::format("{}, element {}", archive_.where(*segment.tensor),
                     segment.begin + element - segment.first);
}

}  // namespace unmask
