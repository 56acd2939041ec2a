#include "unmask/text/byte_pair_encoder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <utility>

namespace unmask {
namespace {

size_t hash_pair(int32_t left, int32_t right) {
  const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  return static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> 20);
}

}  // namespace

BytePairEncoder::BytePairEncoder(const std::array<int32_t, 256>& byte_token,
                                 const std::vector<Merge>& merges)
    : byte_token_(byte_token), pairs_(std::bit_ceil(2 * merges.size() + 1)) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    size_t i = hash_pair(merge.left, merge.right) & (pairs_.size() - 1);
    while (pairs_[i].left >= 0 &&
           (pairs_[i].left != merge.left || pairs_[i].right != merge.right)) {
      i = (i + 1) & (pairs_.size() - 1);
    }
    // A pair that is listed twice counts where it stands last.
    pairs_[i] = {merge.left, merge.right, static_cast<int32_t>(rank), merge.joined};
  }
}

void BytePairEncoder::set_whole_words(std::unordered_map<std::string, int32_t> words) {
  words_ = std::move(words);
}

const BytePairEncoder::Slot* BytePairEncoder::find(int32_t left, int32_t right) const {
  size_t i = hash_pair(left, right) & (pairs_.size() - 1);
  while (pairs_[i].left >= 0) {
    if (pairs_[i].left == left && pairs_[i].right == right) return &pairs_[i];
    i = (i + 1) & (pairs_.size() - 1);
  }
  return nullptr;
}

// Symbols form a linked list and candidates a heap, so that a word of n bytes takes n log n steps.
void BytePairEncoder::merge(std::string_view word, Memory& memory) const {
  auto& symbols = memory.symbols_;
  auto& heap = memory.heap_;
  const auto size = static_cast<int32_t>(word.size());
  symbols.resize(word.size());
  heap.clear();
  const auto consider = [&](int32_t position) {
    if (position < 0 || symbols[position].next >= size) return;
    const int32_t left = symbols[position].token;
    const int32_t right = symbols[symbols[position].next].token;
    if (const Slot* pair = find(left, right)) {
      heap.push_back({pair->rank, position, pair->joined, left, right});
      std::push_heap(heap.begin(), heap.end());
    }
  };
  for (int32_t i = 0; i < size; ++i) {
    symbols[i] = {byte_token_[static_cast<uint8_t>(word[i])], i - 1, i + 1};
  }
  for (int32_t i = 0; i < size; ++i) consider(i);
  while (!heap.empty()) {
    const Memory::Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    Memory::Symbol& symbol = symbols[best.position];
    const int32_t next = symbol.next;
    // A neighbour may have joined another in the meantime; joined symbols have token -1.
    if (next >= size || symbol.token != best.left || symbols[next].token != best.right) continue;
    symbol.token = best.joined;
    symbol.next = symbols[next].next;
    symbols[next].token = -1;
    if (symbol.next < size) symbols[symbol.next].previous = best.position;
    consider(symbol.previous);
    consider(best.position);
  }
  memory.tokens_.clear();
  for (int32_t i = 0; i < size; i = symbols[i].next) memory.tokens_.push_back(symbols[i].token);
}

void BytePairEncoder::encode(std::string_view word, Memory& memory,
                             std::vector<int32_t>& out) const {
  if (word.empty()) return;
  const size_t slot = std::hash<std::string_view>()(word) % Memory::kCacheSize;
  Memory::CachedWord& cached = memory.cache_[slot];
  if (cached.size == word.size() && std::memcmp(cached.bytes, word.data(), word.size()) == 0) {
    out.insert(out.end(), cached.tokens, cached.tokens + cached.count);
    return;
  }
  const auto whole = words_.empty() ? words_.end() : words_.find(std::string(word));
  if (whole != words_.end()) {
    memory.tokens_.assign(1, whole->second);
  } else {
    merge(word, memory);
  }
  const auto& tokens = memory.tokens_;
  out.insert(out.end(), tokens.begin(), tokens.end());
  if (word.size() <= sizeof cached.bytes && tokens.size() <= std::size(cached.tokens)) {
    std::memcpy(cached.bytes, word.data(), word.size());
    cached.size = static_cast<uint8_t>(word.size());
    cached.count = static_cast<uint8_t>(tokens.size());
    std::copy(tokens.begin(), tokens.end(), cached.tokens);
  }
}

}  // namespace unmask
