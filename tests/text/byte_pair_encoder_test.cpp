#include "unmask/text/byte_pair_encoder.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "unmask/base/random.h"

namespace unmask {
namespace {

using Ids = std::vector<int32_t>;
using Merge = BytePairEncoder::Merge;

// The definition: joins the leftmost pair of the lowest rank until none is left.
Ids encode_plainly(const std::string& word, const std::vector<Merge>& merges) {
  Ids ids;
  for (const char c : word) ids.push_back(static_cast<uint8_t>(c));
  for (size_t rank = 0; rank < merges.size();) {
    const Merge& merge = merges[rank++];
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      if (ids[i] != merge.left || ids[i + 1] != merge.right) continue;
      ids[i] = merge.joined;
      ids.erase(ids.begin() + static_cast<int64_t>(i) + 1);
      rank = 0;
      break;
    }
  }
  return ids;
}

TEST(BytePairEncoder, AgreesWithTheDefinitionOnRandomMergesAndWords) {
  std::array<int32_t, 256> byte_token;
  for (int32_t byte = 0; byte < 256; ++byte) byte_token[static_cast<size_t>(byte)] = byte;
  for (uint32_t trial = 0; trial < 200; ++trial) {
    uint64_t counter = 0;
    const auto below = [&](uint64_t n) {
      return static_cast<int32_t>(random_below({trial, Purpose::synthetic}, n, counter++));
    };
    // Three letters and what was joined before; ranks in random order of the pairs.
    Ids tokens = {'a', 'b', 'c'};
    std::vector<Merge> merges;
    std::set<std::pair<int32_t, int32_t>> known;
    for (int32_t id = 256; id < 276; ++id) {
      const auto pick = [&] { return tokens[static_cast<size_t>(below(tokens.size()))]; };
      const Merge merge = {pick(), pick(), id};
      if (!known.insert({merge.left, merge.right}).second) continue;
      merges.insert(merges.begin() + below(merges.size() + 1), merge);
      tokens.push_back(id);
    }
    const BytePairEncoder encoder(byte_token, merges);
    BytePairEncoder::Memory memory;
    for (int32_t size = 0; size < 60; ++size) {
      std::string word;
      for (int32_t i = 0; i < size; ++i) word.push_back(static_cast<char>('a' + below(3)));
      const Ids expected = encode_plainly(word, merges);
      for (const char* time : {"first", "remembered"}) {
        Ids ids;
        encoder.encode(word, memory, ids);
        ASSERT_EQ(ids, expected) << word << " " << time;
      }
    }
  }
}

}  // namespace
}  // namespace unmask
