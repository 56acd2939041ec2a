#include "tests/diffusion/plain_samplers.h"
#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/random.h"
#include "unmask/diffusion/canvas.h"
#include "unmask/diffusion/sampler.h"

namespace unmask {
namespace {

using Ids = std::vector<int32_t>;
using Scores = std::vector<double>;

constexpr int32_t kTwelveTokens = 12, kNothing = 0, kDeletion = 1, kInsertion = 2;
constexpr int kMostOfABlock = 1000;

// logits(tokens of the block, position in it)
using Script = std::function<Scores(const Ids&, int32_t)>;

struct ScriptedBlock {
  Canvas canvas;
  int32_t steps = 4;
  uint64_t seed = 7;
};

// The tokens of the canvas after every step, as the sampler and the canvas have them; what is
// masked has the mask token. Checks what each step reports.
std::vector<Ids> decode_block(ScriptedBlock block, const Script& script,
                              const SamplerOptions& options,
                              const std::function<void(const Choice&)>& look = {}) {
  auto sampler = make_sampler(options);
  EXPECT_TRUE(sampler.ok());
  std::vector<Ids> states;
  Choice choice;
  for (int32_t number = 0;; ++number) {
    EXPECT_LE(number, kMostOfABlock);
    const Ids before(block.canvas.tokens().begin(), block.canvas.tokens().end());
    Ids masked, written, written_tokens;
    for (int32_t i = 0; i < block.canvas.size(); ++i) {
      if (block.canvas.masked()[i]) masked.push_back(i);
      if (block.canvas.masked()[i] || block.canvas.given()[i]) continue;
      written.push_back(i);
      written_tokens.push_back(before[i]);
    }
    std::vector<float> values;
    for (const Ids* positions : {&masked, &written}) {
      for (const int32_t i : *positions) {
        const Scores z = script(before, i);
        values.insert(values.end(), z.begin(), z.end());
      }
    }
    DenoisingStep step;
    step.logits = Matrix(values.data(), std::ssize(values) / kTwelveTokens, kTwelveTokens);
    step.positions = masked;
    step.written = written;
    step.written_tokens = written_tokens;
    step.steps = block.steps;
    step.block_step = number;
    step.mask_token = kNothing;
    step.delete_token = kDeletion;
    step.insert_token = kInsertion;
    step.seed = block.seed;
    step.step = static_cast<uint64_t>(number);
    (*sampler)->choose(step, choice);
    if (look) look(choice);
    for (const auto* list : {&choice.commits, &choice.edits, &choice.provisional}) {
      EXPECT_TRUE(std::ranges::is_sorted(*list, {}, &Commit::position));
    }
    for (const int32_t position : choice.remasked) block.canvas.mask_again(position, kNothing);
    for (const Commit& c : choice.commits) block.canvas.commit(c.position, c.token);
    for (const Commit& c : choice.edits) {
      EXPECT_NE(c.token, before[c.position]);
      block.canvas.replace(c.position, c.token);
    }
    for (const Commit& c : choice.provisional) {
      EXPECT_TRUE(block.canvas.masked()[c.position]);
      EXPECT_NE(c.token, kNothing);
    }
    states.emplace_back(block.canvas.tokens().begin(), block.canvas.tokens().end());
    if (choice.settled && block.canvas.masked_count() == 0) return states;
    if (number == kMostOfABlock) return states;
  }
}

// The same as the decoding of LLaDA2.2's checkpoints has it, position by position on lists, greedy:
// given positions stand before the generated ones.
std::vector<Ids> plain_decode(const ScriptedBlock& block, const Script& script, double threshold,
                              double edit_threshold) {
  Ids tokens(block.canvas.tokens().begin(), block.canvas.tokens().end());
  const int32_t n = block.canvas.size(), given = block.canvas.prompt_length();
  std::vector<bool> original(static_cast<size_t>(n), true);
  std::set<Ids> seen;
  std::vector<Ids> states;
  int extra = 0;
  const auto best = [&](Scores z, const std::vector<int32_t>& without) {
    for (const int32_t token : without) z[token] = -std::numeric_limits<double>::infinity();
    const int32_t token = test::argmax(z);
    return std::pair(token, test::softmax(z)[token]);
  };
  for (int32_t number = 0; number < kMostOfABlock; ++number) {
    const Ids old = tokens;
    std::vector<Scores> z;
    for (int32_t i = 0; i < n; ++i) z.push_back(script(old, i));
    std::vector<std::pair<double, int32_t>> by_confidence;  // of masked positions
    int32_t made = 0, waiting = 0, above = 0;
    for (int32_t i = given; i < n; ++i) {
      if (old[i] != kNothing) continue;
      (original[i] ? waiting : made) += 1;
      const double c = best(z[i], {kNothing}).second;
      above += c > threshold;
      by_confidence.emplace_back(-c, i);
    }
    std::sort(by_confidence.begin(), by_confidence.end());
    extra = waiting == 0 ? extra + 1 : 0;
    const bool last = extra >= 16 || number + 1 == kMostOfABlock;
    const int32_t share = (n - given) / block.steps + (number < (n - given) % block.steps ? 1 : 0);
    int32_t count = std::max(above, std::max(share, 1) + made);
    if (last || number >= block.steps) count = n;
    std::set<int32_t> write;
    for (size_t rank = 0; rank < by_confidence.size(); ++rank) {
      if (static_cast<int32_t>(rank) < count) write.insert(by_confidence[rank].second);
    }
    for (int32_t i = given; i < n; ++i) {
      if (old[i] == kNothing) continue;
      const auto [token, c] = best(z[i], {kNothing});
      if (token != old[i] && c > edit_threshold) write.insert(i);
    }
    for (const int32_t i : write) {
      tokens[i] = best(z[i], {kNothing}).first;
      if (last && (tokens[i] == kDeletion || tokens[i] == kInsertion)) {
        tokens[i] = best(z[i], {kNothing, kDeletion, kInsertion}).first;
      }
    }
    for (uint32_t attempt = 0; !last && attempt < 5 && seen.contains(tokens); ++attempt) {
      Ids changed;
      for (int32_t i = 0; i < n; ++i) {
        if (tokens[i] != old[i]) changed.push_back(i);
      }
      if (changed.empty()) break;
      const uint64_t drawn = random_below({block.seed, Purpose::commit_order}, changed.size(),
                                          static_cast<uint64_t>(number), attempt);
      const int32_t i = changed[drawn];
      tokens[i] = best(z[i], {kNothing, tokens[i]}).first;
    }
    seen.insert(tokens);
    Ids edited(tokens.begin(), tokens.begin() + given);
    std::vector<bool> kept(static_cast<size_t>(given), false);
    for (int32_t i = given; i < n; ++i) {
      if (tokens[i] == kDeletion) continue;
      if (tokens[i] == kInsertion) {
        edited.push_back(kNothing);
        kept.push_back(false);
      }
      edited.push_back(tokens[i] == kInsertion ? old[i] : tokens[i]);
      kept.push_back(original[i]);
    }
    edited.resize(static_cast<size_t>(n), kNothing);
    kept.resize(static_cast<size_t>(n), false);
    tokens = edited;
    original = kept;
    states.push_back(tokens);
    const bool masks = std::count(tokens.begin() + given, tokens.end(), kNothing) > 0;
    if (!masks && (last || tokens == old)) break;
  }
  return states;
}

// Scores by the whole block, of which a part is inclined to stay as it is, and masks to ask for
// others.
Script wandering(uint64_t run, float staying, float inserting) {
  return [=](const Ids& tokens, int32_t i) {
    uint64_t block = run;
    for (const int32_t token : tokens) block = block * 1000003 + static_cast<uint64_t>(token) + 1;
    Scores z;
    for (uint32_t v = 0; v < kTwelveTokens; ++v) {
      const auto key = static_cast<uint32_t>(i) * kTwelveTokens + v;
      z.push_back(2 * random_normal({run, Purpose::synthetic}, block, key));
    }
    (tokens[i] == kNothing ? z[kInsertion] : z[tokens[i]]) +=
        tokens[i] == kNothing ? inserting : staying;
    z[kNothing] += 1;  // must not matter
    return z;
  };
}

TEST(LevenshteinSampler, DecodesAsThePlainLoopDoes) {
  size_t most = 0, settled = 0, exhausted = 0;
  for (uint64_t run = 0; run < 300; ++run) {
    const auto length = static_cast<int32_t>(3 + run % 14);
    const Ids prompt(run % 4, 5);
    const ScriptedBlock block = {.canvas = Canvas::continuation(prompt, length, kNothing),
                                 .steps = static_cast<int32_t>(1 + run % 9),
                                 .seed = run};
    const double threshold = run % 2 ? 0.5 : 0.8, edit_threshold = run % 3 ? 0.0 : 0.4;
    const Script script =
        wandering(run, static_cast<float>(run % 5) * 2, static_cast<float>(run % 7));
    const auto expected = plain_decode(block, script, threshold, edit_threshold);
    const auto found = decode_block(block, script,
                                    {.policy = "levenshtein",
                                     .threshold = static_cast<float>(threshold),
                                     .edit_threshold = static_cast<float>(edit_threshold)});
    ASSERT_EQ(found, expected) << "run " << run;
    for (const int32_t token : found.back()) {
      EXPECT_TRUE(token != kNothing && token != kDeletion && token != kInsertion) << "run " << run;
    }
    most = std::max(most, found.size());
    const bool still = found.size() > 1 && found.back() == found[found.size() - 2];
    ++(still ? settled : exhausted);
  }
  EXPECT_GT(most, 24u);
  EXPECT_GT(settled, 10u) << "no block came to rest";
  EXPECT_GT(exhausted, 10u) << "no block was cut short";
}

// A script that writes 3, 4, 5, … from the left and then says something else of one position.
Script counting(int32_t position, int32_t token, const Ids& when) {
  return [=](const Ids& tokens, int32_t i) {
    Scores z(kTwelveTokens, 0.0);
    z[i == position && tokens == when ? token : 3 + i] = 9;
    return z;
  };
}

TEST(LevenshteinSampler, ADeletedPositionIsClosedUp) {
  const ScriptedBlock block = {.canvas = Canvas::continuation({}, 5, kNothing)};
  const auto states = decode_block(block, counting(1, kDeletion, {3, 4, 5, 6, 7}), {"levenshtein"});
  ASSERT_GE(states.size(), 2u);
  EXPECT_EQ(states[0], (Ids{3, 4, 5, 6, 7}));
  EXPECT_EQ(states[1], (Ids{3, 5, 6, 7, kNothing}));
}

// What moves keeps the confidence that it was written with.
TEST(LevenshteinSampler, MovedTokensAreAsSureAsTheyWere) {
  const Ids full = {3, 4, 5, 6, 7};
  const Script script = [&](const Ids& tokens, int32_t i) {
    Scores z = counting(1, kDeletion, full)(tokens, i);
    if (tokens == full) z[3 + i] /= 2;
    return z;
  };
  std::vector<Commit> commits, edits;
  const ScriptedBlock block = {.canvas = Canvas::continuation({}, 5, kNothing)};
  decode_block(block, script, {"levenshtein"}, [&](const Choice& choice) {
    if (commits.empty()) {
      commits = choice.commits;
    } else if (edits.empty()) {
      edits = choice.edits;
    }
  });
  ASSERT_EQ(commits.size(), 5u);
  ASSERT_EQ(edits.size(), 3u);
  for (const Commit& c : edits) {
    EXPECT_EQ(c.token, commits[c.position + 1].token);
    EXPECT_EQ(c.confidence, commits[c.position + 1].confidence);
  }
}

TEST(LevenshteinSampler, AnInsertionPushesOutTheEndOfTheBlock) {
  const ScriptedBlock block = {.canvas = Canvas::continuation({}, 5, kNothing)};
  const auto states =
      decode_block(block, counting(1, kInsertion, {3, 4, 5, 6, 7}), {"levenshtein"});
  ASSERT_GE(states.size(), 2u);
  EXPECT_EQ(states[1], (Ids{3, kNothing, 4, 5, 6}));
}

TEST(LevenshteinSampler, GivenTextStaysWhereItIs) {
  const Ids tokens = {3, 0, 0, 9, 0, 0, 0};
  const std::vector<uint8_t> masked = {0, 1, 1, 0, 1, 1, 1};
  const ScriptedBlock block = {.canvas = Canvas::infill(tokens, masked, kNothing)};
  const Ids full = {3, 4, 5, 9, 7, 8, 9};
  auto states = decode_block(block, counting(1, kDeletion, full), {"levenshtein"});
  ASSERT_GE(states.size(), 2u);
  EXPECT_EQ(states[0], full);
  EXPECT_EQ(states[1], (Ids{3, 5, kNothing, 9, 7, 8, 9}));
  states = decode_block(block, counting(4, kInsertion, full), {"levenshtein"});
  EXPECT_EQ(states[1], (Ids{3, 4, 5, 9, kNothing, 7, 8}));
}

TEST(LevenshteinSampler, EndsWhereEveryPredictionIsAnEdit) {
  for (const int32_t token : {kDeletion, kInsertion}) {
    const Script always = [token](const Ids&, int32_t i) {
      Scores z(kTwelveTokens, 0.0);
      z[token] = 9;
      z[3 + i] = 5;
      return z;
    };
    const ScriptedBlock block = {.canvas = Canvas::continuation({}, 5, kNothing)};
    const auto states = decode_block(block, always, {"levenshtein"});
    EXPECT_EQ(states, plain_decode(block, always, 0.5, 0.0));
    EXPECT_LE(states.size(), static_cast<size_t>(kMostOfABlock));
    EXPECT_EQ(states.back(), (Ids{3, 4, 5, 6, 7}));
  }
}

TEST(LevenshteinSampler, DrawsMaskedTokensAndEditsByTheArgmax) {
  // Two tokens are likely where something is masked, one where something is written.
  const Script script = [](const Ids& tokens, int32_t i) {
    Scores z(kTwelveTokens, -20.0);
    z[5] = 1;
    z[6] = tokens[i] == kNothing ? 1 : 0.9;
    return z;
  };
  auto sampler = make_sampler({"levenshtein"});
  ASSERT_TRUE(sampler.ok());
  int drawn = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Ids before = {kNothing, kNothing};
    std::vector<float> values;
    for (int32_t i = 0; i < 2; ++i) {
      const Scores z = script(before, i);
      values.insert(values.end(), z.begin(), z.end());
    }
    const Ids both = {0, 1};
    DenoisingStep step;
    step.logits = Matrix(values.data(), 2, kTwelveTokens);
    step.positions = both;
    step.delete_token = kDeletion;
    step.insert_token = kInsertion;
    step.temperature = 1;
    step.seed = seed;
    Choice choice;
    (*sampler)->choose(step, choice);
    ASSERT_EQ(choice.commits.size(), 2u);
    drawn += choice.commits[0].token == 6;

    values.clear();
    const Ids written_tokens = {choice.commits[0].token, choice.commits[1].token};
    for (int32_t i = 0; i < 2; ++i) {
      const Scores z = script(written_tokens, i);
      values.insert(values.end(), z.begin(), z.end());
    }
    step.logits = Matrix(values.data(), 2, kTwelveTokens);
    step.positions = {};
    step.written = both;
    step.written_tokens = written_tokens;
    step.block_step = 1;
    step.step = 1;
    (*sampler)->choose(step, choice);
    for (const Commit& edit : choice.edits) EXPECT_EQ(edit.token, 5);
    const auto others = std::ranges::count(written_tokens, 6);
    EXPECT_EQ(std::ssize(choice.edits), others);
    EXPECT_EQ(choice.settled, others == 0);
  }
  EXPECT_GT(drawn, 8);
  EXPECT_LT(drawn, 32);
}

TEST(LevenshteinSampler, OthersNeverChooseEditTokens) {
  for (const std::string_view name : sampler_names()) {
    auto sampler = make_sampler({std::string(name)});
    ASSERT_TRUE(sampler.ok());
    std::vector<float> values;
    for (int row = 0; row < 4; ++row) {
      for (int32_t v = 0; v < kTwelveTokens; ++v) {
        values.push_back(v == kDeletion || v == kInsertion ? 40.0f : 3.0f * static_cast<float>(v));
      }
    }
    const Ids masked = {4, 5}, written = {6, 7}, written_tokens = {3, 3};
    const bool edits = (*sampler)->edits() && !(*sampler)->inserts_and_deletes();
    DenoisingStep step;
    step.logits = Matrix(values.data(), edits ? 4 : 2, kTwelveTokens);
    step.positions = masked;
    if (edits) {
      step.written = written;
      step.written_tokens = written_tokens;
    }
    step.quota = 2;
    step.delete_token = kDeletion;
    step.insert_token = kInsertion;
    Choice choice;
    (*sampler)->choose(step, choice);
    const bool asks = (*sampler)->inserts_and_deletes();
    EXPECT_EQ(choice.commits.empty(), asks) << name << ": two deletions leave two masks";
    for (const auto* list : {&choice.commits, &choice.edits, &choice.provisional}) {
      for (const Commit& c : *list) EXPECT_EQ(c.token, kTwelveTokens - 1) << name;
    }
    EXPECT_EQ(choice.edits.size(), edits ? 2u : 0u) << name;
  }
}

}  // namespace
}  // namespace unmask
