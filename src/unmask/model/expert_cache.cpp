#include "unmask/model/expert_cache.h"

#include <algorithm>
#include <utility>

#include "unmask/base/clock.h"
#include "unmask/base/parallel.h"

namespace unmask {

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(const ExpertForm& form, int32_t layers,
                                                         int32_t experts, int64_t bytes,
                                                         Read read) {
  const int64_t slots = std::min(bytes / form.bytes(), int64_t{layers} * experts);
  if (slots < experts) {
    return usage_error(
        "expert memory: expected at least {} bytes, which is the {} experts of one layer; found {}",
        experts * form.bytes(), experts, bytes);
  }
  return std::unique_ptr<ExpertCache>(
      new ExpertCache(form, layers, experts, slots, std::move(read)));
}

ExpertCache::ExpertCache(const ExpertForm& form, int32_t layers, int32_t experts, int64_t slots,
                         Read read)
    : form_(form),
      layers_(layers),
      experts_(experts),
      read_(std::move(read)),
      memory_(static_cast<size_t>(slots * form.bytes())),
      records_(static_cast<size_t>(experts)),
      slots_(static_cast<size_t>(slots)),
      slot_of_(static_cast<size_t>(layers * experts), kNone),
      wanted_(static_cast<size_t>(layers * experts)),
      reader_([this] { read_ahead(); }) {}

ExpertCache::~ExpertCache() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  reader_.join();
}

// The slot whose record is needed last, if that is farther than so many layers away; records that
// their layer's last pass did without are farthest of all.
int32_t ExpertCache::victim(int32_t farther_than) const {
  int32_t best = kNone, farthest = farther_than;
  for (int32_t i = 0; i < std::ssize(slots_); ++i) {
    const Slot& slot = slots_[static_cast<size_t>(i)];
    if (slot.state == State::free) return i;
    if (slot.state == State::reading) continue;
    const bool wanted = wanted_[static_cast<size_t>(slot.layer * experts_ + slot.expert)] != 0;
    if (wanted && slot.layer == current_) continue;
    const int32_t away = wanted ? distance(slot.layer) : layers_;
    if (away > farthest) {
      best = i;
      farthest = away;
    }
  }
  return best;
}

int32_t ExpertCache::take_slot(int32_t layer, int32_t expert, int32_t farther_than) {
  const int32_t index = victim(farther_than);
  if (index == kNone) return kNone;
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.state == State::resident) slot_of(slot.layer, slot.expert) = kNone;
  slot = {layer, expert, State::reading};
  slot_of(layer, expert) = index;
  return index;
}

void ExpertCache::bring(int32_t slot, int32_t layer, int32_t expert) {
  const std::span<std::byte> record(memory_of(slot), static_cast<size_t>(form_.bytes()));
  const Status status = read_(layer, expert, record);
  if (!status.ok()) std::ranges::fill(record, std::byte{0});

  const std::lock_guard lock(mutex_);
  if (!status.ok() && status_.ok()) status_ = status;
  slots_[static_cast<size_t>(slot)].state = State::resident;
  ++counts_.read;
  arrived_.notify_all();
}

QuantizedExperts ExpertCache::acquire(int32_t layer, std::span<const int32_t> expert_begin) {
  const auto needed = [&](int32_t e) { return expert_begin[e + 1] > expert_begin[e]; };
  std::vector<std::pair<int32_t, int32_t>> missing;  // slot, expert
  std::unique_lock lock(mutex_);
  const double begin = seconds_now();
  current_ = layer;
  ahead_.clear();
  for (int32_t e = 0; e < experts_; ++e) wanted(layer, e) = needed(e);
  for (int32_t e = 0; e < experts_; ++e) {
    if (!needed(e)) continue;
    ++counts_.used;
    counts_.found += is_resident(slot_of(layer, e));
    if (slot_of(layer, e) != kNone) continue;
    int32_t slot = take_slot(layer, e, 0);
    for (; slot == kNone; slot = take_slot(layer, e, 0)) arrived_.wait(lock);
    missing.emplace_back(slot, e);
  }
  if (!missing.empty()) {
    lock.unlock();
    parallel_for(std::ssize(missing), [&](int64_t i) {
      const auto [slot, expert] = missing[static_cast<size_t>(i)];
      bring(slot, layer, expert);
    });
    lock.lock();
  }
  for (int32_t e = 0; e < experts_; ++e) {
    if (!needed(e)) continue;
    arrived_.wait(lock, [&] { return is_resident(slot_of(layer, e)); });
    records_[static_cast<size_t>(e)] = memory_of(slot_of(layer, e));
  }
  counts_.waited += seconds_now() - begin;

  const int32_t next = (layer + 1) % layers_;
  for (int32_t e = 0; e < experts_; ++e) {
    if (next != layer && wanted(next, e) && slot_of(next, e) == kNone) ahead_.push_back(e);
  }
  lock.unlock();
  work_.notify_one();
  return {form_, records_};
}

void ExpertCache::read_ahead() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stop_ || !ahead_.empty(); });
    if (stop_) return;
    const int32_t layer = (current_ + 1) % layers_, expert = ahead_.back();
    ahead_.pop_back();
    const int32_t slot = take_slot(layer, expert, distance(layer));
    if (slot == kNone) {
      ahead_.clear();
      continue;
    }
    ++counts_.read_ahead;
    lock.unlock();
    bring(slot, layer, expert);
    lock.lock();
  }
}

Status ExpertCache::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

ExpertCache::Counts ExpertCache::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace unmask
