#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace unmask {

// Byte-pair encoding of one word: begins with its bytes and joins, again and again, the pair of
// neighbours with the lowest rank, of equal ones the leftmost (Sennrich et al., "Neural Machine
// Translation of Rare Words with Subword Units", ACL 2016).
class BytePairEncoder {
 public:
  struct Merge {
    int32_t left = 0;
    int32_t right = 0;
    int32_t joined = 0;
  };

  // `merges` in the order of their ranks.
  BytePairEncoder(const std::array<int32_t, 256>& byte_token, const std::vector<Merge>& merges);

  // A word that is a token is taken whole, merges or not.
  void set_whole_words(std::unordered_map<std::string, int32_t> words);

  // Work memory and the encodings of recent short words: one for each thread.
  class Memory {
   public:
    Memory() : cache_(kCacheSize) {}

   private:
    friend class BytePairEncoder;
    struct Symbol {
      int32_t token = 0;
      int32_t previous = 0;
      int32_t next = 0;
    };
    struct Candidate {
      int32_t rank = 0;
      int32_t position = 0;
      int32_t joined = 0;
      int32_t left = 0;
      int32_t right = 0;
      bool operator<(const Candidate& other) const {  // the heap's top is the largest
        return rank != other.rank ? rank > other.rank : position > other.position;
      }
    };
    static constexpr size_t kCacheSize = 1 << 14;
    struct alignas(64) CachedWord {  // a cache line: one miss to look a word up
      char bytes[30];
      uint8_t size = 0;
      uint8_t count = 0;
      int32_t tokens[8];
    };

    std::vector<CachedWord> cache_;
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
    std::vector<int32_t> tokens_;
  };

  // Appends the tokens of `word` to `out`.
  void encode(std::string_view word, Memory& memory, std::vector<int32_t>& out) const;

 private:
  struct Slot {
    int32_t left = -1;
    int32_t right = -1;
    int32_t rank = 0;
    int32_t joined = 0;
  };
  const Slot* find(int32_t left, int32_t right) const;
  void merge(std::string_view word, Memory& memory) const;

  std::array<int32_t, 256> byte_token_;
  std::vector<Slot> pairs_;  // open addressing, a power of two, at most half full
  std::unordered_map<std::string, int32_t> words_;
};

}  // namespace unmask
