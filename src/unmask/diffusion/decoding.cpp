#include "unmask/diffusion/decoding.h"

#include <algorithm>
#include <utility>

namespace unmask {
namespace {

// Of `vicinity`.
constexpr int32_t kVicinity = 16;
constexpr int32_t kWholeSteps = 4;

// logits [2n, vocab], c above u: the upper half becomes u + (w + 1) (c - u).
Matrix guide(Matrix logits, float w) {
  const int64_t n = logits.rows / 2;
  for (int64_t i = 0; i < n; ++i) {
    float* const c = logits.row(i);
    const float* const u = logits.row(n + i);
    for (int64_t v = 0; v < logits.cols; ++v) c[v] = u[v] + (w + 1.0f) * (c[v] - u[v]);
  }
  return logits.row_range(0, n);
}

}  // namespace

Decoding::Decoding(size_t index, const GenerateRequest& request, std::unique_ptr<Sampler> sampler,
                   std::optional<Precision> cache, const GenerateOptions& options,
                   const ModelConfig& config)
    : index_(index),
      seed_(request.seed),
      sampler_(std::move(sampler)),
      options_(options),
      config_(config),
      continues_(request.canvas.is_continuation()),
      in_blocks_(options.block_length > 0 || config.attention_block > 0),
      block_length_(options.block_length     ? options.block_length
                    : config.attention_block ? config.attention_block
                                             : request.canvas.size()),
      most_filled_(routes_block_by_block(config, block_length_)
                       ? std::max(kRowsOfPass / block_length_, 1) * block_length_
                       : request.canvas.size()),
      cached_(cache.has_value()) {
  result_.canvas = request.canvas;
  result_.confidence.assign(static_cast<size_t>(request.canvas.size()), 1.0f);
  result_.unique_experts.assign(static_cast<size_t>(config.layers), 0.0);
  enter_next_block();
  if (cache && !done_) cache_ = KvCache(config, request.canvas.size(), *cache);
}

// Moves to the first block from block_end_ on that has anything masked; none: done.
void Decoding::enter_next_block() {
  const Canvas& canvas = result_.canvas;
  block_step_ = 0;
  for (block_begin_ = block_end_; block_begin_ < canvas.size(); block_begin_ = block_end_) {
    block_end_ = block_begin_ + std::min(block_length_, canvas.size() - block_begin_);
    const int32_t masked = canvas.masked_count(block_begin_, block_end_);
    // In blocks the schedule is a rate, block_length / steps, also where a part of the block is
    // prompt or behind the canvas (LLaDA2's generate); else the steps are shared out over what is
    // masked.
    scheduled_ = in_blocks_ ? block_length_ : masked;
    if (masked > 0) return;
  }
  done_ = true;
}

Decoding::Interval Decoding::next_rows(bool causal) {
  using Cache = GenerateOptions::Cache;
  const int32_t size = result_.canvas.size();
  filling_ = false;
  if (causal) {  // what is behind the block is not looked at
    if (!cached_) return {0, block_end_};
    const int32_t kept = cache_.length();
    filling_ = kept < block_begin_;
    if (!filling_) return {kept, block_end_};
    return {kept, kept + std::min(block_begin_ - kept, most_filled_)};
  }
  const bool vicinity = options_.cache == Cache::vicinity;
  const bool whole = !cached_ || block_step_ == 0 || (vicinity && result_.forwards < kWholeSteps);
  if (whole) return {0, size};
  if (vicinity) {
    return {std::max(block_begin_ - kVicinity, 0), std::min(block_end_ + kVicinity, size)};
  }
  return {block_begin_, options_.cache == Cache::prefix ? size : block_end_};
}

void Decoding::add_to(const BatchLayout& layout, ForwardBatch& batch, std::vector<int32_t>& rows) {
  const Canvas& canvas = result_.canvas;
  const auto [begin, end] = next_rows(layout.attention == BatchLayout::Attention::block_causal);
  const auto tokens = canvas.tokens().subspan(begin, end - begin);
  const auto masked = canvas.masked().subspan(begin, end - begin);
  const int32_t first = cached_ ? batch.add_cached(layout, tokens, masked, begin, cache_)
                                : batch.add(layout, tokens, masked);
  position_zero_ = first - begin;
  kept_ = end;

  masked_.clear();
  written_.clear();
  written_tokens_.clear();
  if (filling_) return;
  const bool edits = sampler_->edits();
  for (int32_t i = block_begin_; i < block_end_; ++i) {
    if (canvas.masked()[i]) {
      masked_.push_back(i);
    } else if (edits && !canvas.given()[i]) {
      written_.push_back(i);
      written_tokens_.push_back(canvas.tokens()[i]);
    }
  }
  add_logit_rows(position_zero_, rows);
  if (!guided()) return;
  hidden_.assign(masked.begin(), masked.end());
  for (int32_t i = begin; i < end; ++i) hidden_[i - begin] |= canvas.given()[i];
  add_logit_rows(batch.add(layout, tokens, hidden_) - begin, rows);
}

void Decoding::add_logit_rows(int32_t position_zero, std::vector<int32_t>& rows) const {
  for (const int32_t position : masked_) rows.push_back(position_zero + position);
  for (const int32_t position : written_) rows.push_back(position_zero + position);
}

void Decoding::advance(const Tape& tape, Matrix logits) {
  if (filling_) {
    cache_.keep(kept_ - cache_.length());
    ++(result_.forwards == 0 ? result_.prefill_forwards : result_.commit_forwards);
  } else {
    count_unique_experts(tape);
    denoise(logits);
  }
}

void Decoding::denoise(Matrix logits) {
  const DenoisingStep step{
      .logits = guided() ? guide(logits, options_.guidance) : logits,
      .positions = masked_,
      .written = written_,
      .written_tokens = written_tokens_,
      .quota = quota_at(scheduled_, options_.steps, block_step_),
      .steps = options_.steps,
      .block_step = block_step_,
      .mask_token = config_.mask_token,
      .delete_token = config_.delete_token,
      .insert_token = config_.insert_token,
      .temperature = options_.temperature,
      .top_k = options_.top_k,
      .top_p = options_.top_p,
      .seed = seed_,
      .step = static_cast<uint64_t>(result_.forwards),
  };
  sampler_->choose(step, choice_);
  UNMASK_CHECK(masked_.empty() || !choice_.commits.empty() || sampler_->edits());
  for (const Commit& c : choice_.commits) {
    result_.canvas.commit(c.position, c.token);
    result_.confidence[c.position] = c.confidence;
  }
  for (const Commit& c : choice_.edits) {
    result_.canvas.replace(c.position, c.token);
    result_.confidence[c.position] = c.confidence;
  }
  for (const int32_t position : choice_.remasked) {
    result_.canvas.mask_again(position, config_.mask_token);
  }
  result_.committed +=
      static_cast<int32_t>(std::ssize(choice_.commits) - std::ssize(choice_.remasked));
  result_.edited += static_cast<int32_t>(choice_.edits.size());
  ++result_.forwards;
  ++block_step_;
  const bool settled = choice_.settled || !sampler_->edits();
  const bool finished = settled && result_.canvas.masked_count(block_begin_, block_end_) == 0;
  // What may still be edited ends nothing.
  if (const auto end = settled ? end_of_text() : std::nullopt) {
    result_.ended = done_ = true;
    result_.stopped = end->stopped;
    length_ = end->length;
  } else if (finished) {
    enter_next_block();
  }
}

DenoisingEvent Decoding::event() const {
  return {index_,          result_.forwards,    result_.canvas,
          choice_.commits, choice_.provisional, choice_.edits};
}

std::optional<Decoding::End> Decoding::end_of_text() const {
  if (!continues_) return std::nullopt;
  const int32_t first = result_.canvas.prompt_length();
  const auto written = result_.canvas.written();
  int32_t kept = -1;
  if (options_.stop_at_end) {
    const auto token =
        std::ranges::find_if(written, [this](int32_t t) { return is_end(t, options_, config_); });
    if (token != written.end()) kept = static_cast<int32_t>(token - written.begin());
  }
  if (options_.stop) {
    const int32_t before = options_.stop(kept < 0 ? written : written.first(kept));
    if (before >= 0) return End{first + before, true};
  }
  if (kept < 0) return std::nullopt;
  return End{first + kept, false};
}

void Decoding::count_unique_experts(const Tape& tape) {
  const int32_t begin = position_zero_ + block_begin_, end = position_zero_ + block_end_;
  int32_t used = 0;
  for (int32_t l = config_.dense_layers; l < config_.layers; ++l) {
    const Assignment& assignment = tape.layers[l].routing.assignment;
    for (int32_t e = 0; e < assignment.experts; ++e) {
      const auto tokens = assignment.tokens_of(e);
      const auto first = std::ranges::lower_bound(tokens, begin);
      if (first == tokens.end() || *first >= end) continue;
      result_.unique_experts[l] += 1;
      ++used;
    }
  }
  const int32_t routed = std::max(config_.layers - config_.dense_layers, 1);
  result_.unique_experts_by_step.push_back(static_cast<float>(used) / static_cast<float>(routed));
}

Generation Decoding::finish() {
  result_.cancelled = !done_;
  const auto tokens = result_.canvas.tokens();
  const int32_t length = result_.ended ? length_ : result_.canvas.first_masked();
  result_.tokens.assign(tokens.begin(), tokens.begin() + length);
  result_.confidence.resize(static_cast<size_t>(length));
  for (double& count : result_.unique_experts) count /= std::max(result_.forwards, 1);
  return std::move(result_);
}

}  // namespace unmask
