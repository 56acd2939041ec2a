#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "unmask/diffusion/forward_batch.h"
#include "unmask/diffusion/generate.h"
#include "unmask/model/kv_cache.h"

namespace unmask {

// A pass takes in rows up to about so many where it can be cut without changing anything: more
// read no weight less often that memory would notice, and each takes memory (32 samples of a long
// prompt would not fit). A request's own blocks are never cut.
inline constexpr int32_t kRowsOfPass = 2048;

// One request on its way through its blocks: what its next pass computes, and what comes of it.
// Each pass is add_to, then the model, then advance.
class Decoding {
 public:
  // `options` and `config` outlive it.
  Decoding(size_t index, const GenerateRequest& request, std::unique_ptr<Sampler> sampler,
           std::optional<Precision> cache, const GenerateOptions& options,
           const ModelConfig& config);

  bool done() const { return done_; }
  int64_t cache_bytes() const { return cache_.bytes(); }

  // Appends the rows of the next pass to `batch`, and to `rows` those whose logits are needed.
  // That is none when the pass puts finished blocks into the cache, which comes before a block that
  // follows them, as many at a time as make kRowsOfPass rows; else the masked positions of the
  // active block, then, if the sampler edits, its written ones; and with guidance the same of the
  // canvas without what is given.
  void add_to(const BatchLayout& layout, ForwardBatch& batch, std::vector<int32_t>& rows);
  bool denoises() const { return !filling_; }
  int64_t logit_rows() const { return candidates() * (guided() ? 2 : 1); }

  // The pass is done: keeps what it put into the cache, or lets the sampler choose.
  void advance(const Tape& tape, Matrix logits);
  // Of a pass that denoised: what the sampler chose.
  DenoisingEvent event() const;

  // After the last pass.
  Generation finish();

 private:
  // Positions that the next pass computes.
  struct Interval {
    int32_t begin, end;
  };
  Interval next_rows(bool causal);
  bool guided() const { return options_.guidance > 0.0f; }
  int64_t candidates() const { return std::ssize(masked_) + std::ssize(written_); }
  void add_logit_rows(int32_t position_zero, std::vector<int32_t>& rows) const;
  void denoise(Matrix logits);
  void enter_next_block();
  // Where the text ends, if it does as it is now.
  struct End {
    int32_t length;
    bool stopped;
  };
  std::optional<End> end_of_text() const;
  void count_unique_experts(const Tape& tape);

  size_t index_;
  uint64_t seed_;
  std::unique_ptr<Sampler> sampler_;
  const GenerateOptions& options_;
  const ModelConfig& config_;
  bool continues_;  // nothing is given behind the first masked position
  bool in_blocks_;
  int32_t block_length_;
  int32_t most_filled_;  // positions of finished blocks in one pass

  Generation result_;
  bool done_ = false;
  int32_t length_ = 0;  // of the text, once ended
  int32_t block_begin_ = 0, block_end_ = 0;
  int32_t scheduled_ = 0;  // positions that the steps of a block are shared out over
  int32_t block_step_ = 0;

  bool cached_;
  KvCache cache_;

  // Of the pass.
  bool filling_ = false;
  int32_t kept_ = 0;           // positions that are in the cache after it
  int32_t position_zero_ = 0;  // the row of position 0, negative where the pass begins behind it
  std::vector<int32_t> masked_, written_, written_tokens_;
  std::vector<uint8_t> hidden_;  // with guidance: masked for the run without what is given
  Choice choice_;
};

}  // namespace unmask
