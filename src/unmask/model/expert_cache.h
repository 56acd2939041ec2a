#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/base/result.h"
#include "unmask/kernels/quantized_experts.h"

namespace unmask {

// Routed experts of a model that is larger than memory: records stay in their file, and a fixed
// number of them in memory.
//
// A denoising step goes through the layers in order, and the next one through the same layers with
// nearly the same experts. So when layer l is computed, the experts that layer l + 1 used in the
// previous step are read ahead; and the record that leaves is one that its layer's last pass did
// not use, else the one whose layer comes again last. (The least recently used one would be of the
// layer that comes again first: with slightly too little memory nothing would ever be found.)
class ExpertCache {
 public:
  // Fills a record from the file, on any thread.
  using Read = std::function<Status(int32_t layer, int32_t expert, std::span<std::byte> record)>;

  struct Counts {
    int64_t used = 0;        // records that passes needed
    int64_t found = 0;       // of them in memory when the layer began
    int64_t read_ahead = 0;  // records brought before they were needed, or in vain
    int64_t read = 0;        // records brought in all
    double waited = 0;       // seconds that passes waited for reading

    Counts since(const Counts& before) const {
      return {used - before.used, found - before.found, read_ahead - before.read_ahead,
              read - before.read, waited - before.waited};
    }
    void add(const Counts& more) {
      used += more.used;
      found += more.found;
      read_ahead += more.read_ahead;
      read += more.read;
      waited += more.waited;
    }
    double hit_rate() const {
      return used > 0 ? static_cast<double>(found) / static_cast<double>(used) : 1.0;
    }
  };

  // `layers` are those with routed experts, counted from 0. Refuses room for fewer records than one
  // layer has experts: a pass may need them all.
  static Result<std::unique_ptr<ExpertCache>> create(const ExpertForm& form, int32_t layers,
                                                     int32_t experts, int64_t bytes, Read read);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  // The experts of a layer that have slots, in memory until the next call. Reads what is missing
  // with all threads, then lets the next layer's be read behind the caller's back.
  QuantizedExperts acquire(int32_t layer, std::span<const int32_t> expert_begin);

  // The first reading that failed; its record is zeros.
  Status status() const;
  Counts counts() const;
  const ExpertForm& form() const { return form_; }
  int64_t bytes() const { return static_cast<int64_t>(memory_.size()); }

 private:
  static constexpr int32_t kNone = -1;
  enum class State : uint8_t { free, reading, resident };
  struct Slot {
    int32_t layer = kNone;
    int32_t expert = kNone;
    State state = State::free;
  };

  ExpertCache(const ExpertForm& form, int32_t layers, int32_t experts, int64_t slots, Read read);

  std::byte* memory_of(int32_t slot) const { return memory_.data() + slot * form_.bytes(); }
  int32_t& slot_of(int32_t layer, int32_t expert) { return slot_of_[layer * experts_ + expert]; }
  uint8_t& wanted(int32_t layer, int32_t expert) { return wanted_[layer * experts_ + expert]; }

  // With the mutex held.
  bool is_resident(int32_t slot) const {
    return slot != kNone && slots_[static_cast<size_t>(slot)].state == State::resident;
  }
  int32_t distance(int32_t layer) const { return (layer - current_ + layers_) % layers_; }
  int32_t victim(int32_t farther_than) const;
  int32_t take_slot(int32_t layer, int32_t expert, int32_t farther_than);
  void bring(int32_t slot, int32_t layer, int32_t expert);  // without the mutex
  void read_ahead();                                        // the thread's body

  const ExpertForm form_;
  const int32_t layers_;
  const int32_t experts_;
  const Read read_;
  Buffer memory_;
  std::vector<const std::byte*> records_;  // [experts] of the layer in use

  mutable std::mutex mutex_;  // of all that follows
  std::condition_variable work_, arrived_;
  std::vector<Slot> slots_;
  std::vector<int32_t> slot_of_;  // [layers, experts]
  std::vector<uint8_t> wanted_;   // [layers, experts] by the layer's last pass
  int32_t current_ = 0;           // the layer in use: its wanted records stay
  std::vector<int32_t> ahead_;    // experts of the next layer to read, last first
  bool stop_ = false;
  Status status_;
  Counts counts_;
  std::thread reader_;
};

}  // namespace unmask
