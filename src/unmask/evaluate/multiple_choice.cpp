#include "unmask/evaluate/multiple_choice.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "unmask/base/clock.h"
#include "unmask/diffusion/objective.h"

namespace unmask {
namespace {

// A question as a sequence: with a mask for the letter, or with one of the choices masked.
struct Ask {
  size_t question = 0;
  std::vector<int32_t> tokens;
  size_t masked = 1;                  // tokens at the end
  std::vector<int32_t> letters = {};  // [choices] tokens that the mask is compared for
  int32_t choice = 0;                 // that is masked
};

// Adds sequences to forward passes, `batch` at a time; `read(asks, prepared)` after each pass.
template <class Read>
Status run_in_batches(Model& model, std::span<const Ask> asks, int32_t batch, Tape& tape,
                      RoutingCollector& routing, Read read) {
  const BatchLayout layout = decoding_layout(model.config());
  PreparedBatch prepared;
  std::vector<uint8_t> masked;
  tape.mode = Tape::Mode::inference;
  while (!asks.empty()) {
    const auto part = asks.first(std::min(static_cast<size_t>(batch), asks.size()));
    asks = asks.subspan(part.size());
    prepared.clear();
    for (const Ask& ask : part) {
      masked.assign(ask.tokens.size(), 0);
      std::fill_n(masked.rbegin(), ask.masked, uint8_t{1});
      prepared.add(layout, ask.tokens, masked);
    }
    prepared.finish(layout);
    model.forward(prepared.forward.batch(), tape);
    routing.add(prepared.forward.batch().route, tape);
    UNMASK_TRY_STATUS(read(part, prepared));
  }
  return {};
}

// Of " A", " B", …: the tokens that all begin with, and the first that tells them apart.
struct Letters {
  std::vector<int32_t> common;
  std::vector<int32_t> token;  // [choices]
};

Result<Letters> letters_of(const Tokenizer& tokenizer, size_t count) {
  std::vector<std::vector<int32_t>> encoded;
  for (size_t i = 0; i < count; ++i) {
    UNMASK_TRY(auto tokens, tokenizer.encode(std::string(" ") + choice_letter(i)));
    encoded.push_back(std::move(tokens));
  }
  size_t common = 0;
  const auto shared = [&](const auto& tokens) {
    return tokens.size() > common + 1 && tokens[common] == encoded[0][common];
  };
  while (std::ranges::all_of(encoded, shared)) ++common;
  Letters letters;
  letters.common.assign(encoded[0].begin(), encoded[0].begin() + static_cast<int64_t>(common));
  for (const auto& tokens : encoded) letters.token.push_back(tokens[common]);
  return letters;
}

std::vector<ChoiceQuestion> first_shots(const ChoiceTask& task, const ChoiceData& data,
                                        const ChoiceQuestion& question, int32_t count) {
  std::vector<ChoiceQuestion> shots;
  for (const ChoiceQuestion& shot : data.pool) {
    if (std::ssize(shots) == count) break;
    if (!task.by_subject || shot.subject == question.subject) shots.push_back(shot);
  }
  return shots;
}

// What there is to ask; questions that do not fit into the model's positions are left out.
class Asker {
 public:
  Asker(const Model& model, const Tokenizer& tokenizer, const ChoiceTask& task,
        const ChoiceData& data, const ChoiceOptions& options, ChoiceEvaluation& evaluation)
      : room_(static_cast<size_t>(model.config().max_positions)),
        mask_token_(model.config().mask_token),
        tokenizer_(tokenizer),
        task_(task),
        data_(data),
        options_(options),
        evaluation_(evaluation) {}

  // One sequence with one mask for each question, with as many shots as fit.
  Status ask_letters(std::vector<Ask>& asks) {
    for (size_t i = 0; i < data_.questions.size(); ++i) {
      const ChoiceQuestion& question = data_.questions[i];
      UNMASK_TRY(const Letters letters, letters_of(tokenizer_, question.choices.size()));
      const auto shots = first_shots(task_, data_, question, options_.shots);
      size_t used = shots.size();
      std::vector<int32_t> tokens;
      while (true) {
        UNMASK_TRY(tokens,
                   tokenizer_.encode(choice_prompt(task_, std::span(shots).first(used), question)));
        tokens.insert(tokens.end(), letters.common.begin(), letters.common.end());
        tokens.push_back(mask_token_);
        if (tokens.size() <= room_ || used == 0) break;
        --used;
      }
      if (tokens.size() > room_) {
        ++evaluation_.left_out;
        continue;
      }
      evaluation_.shortened += used < shots.size();
      asks.push_back({.question = i, .tokens = std::move(tokens), .letters = letters.token});
    }
    return {};
  }

  // A sequence for each choice, with the choice masked.
  Status ask_endings(std::vector<Ask>& asks) {
    for (size_t i = 0; i < data_.questions.size(); ++i) {
      const ChoiceQuestion& question = data_.questions[i];
      UNMASK_TRY(const auto context, tokenizer_.encode(question.question));
      std::vector<Ask> endings;
      bool fits = true;
      for (size_t choice = 0; choice < question.choices.size(); ++choice) {
        UNMASK_TRY(const auto ending, tokenizer_.encode(" " + question.choices[choice]));
        if (ending.empty()) {
          return failure("question {}: expected choices of at least one token, found \"{}\"", i + 1,
                         question.choices[choice]);
        }
        Ask& ask = endings.emplace_back(Ask{.question = i,
                                            .tokens = context,
                                            .masked = ending.size(),
                                            .choice = static_cast<int32_t>(choice)});
        ask.tokens.insert(ask.tokens.end(), ending.begin(), ending.end());
        fits &= ask.tokens.size() <= room_;
      }
      evaluation_.left_out += !fits;
      if (fits) std::ranges::move(endings, std::back_inserter(asks));
    }
    return {};
  }

 private:
  size_t room_;
  int32_t mask_token_;
  const Tokenizer& tokenizer_;
  const ChoiceTask& task_;
  const ChoiceData& data_;
  const ChoiceOptions& options_;
  ChoiceEvaluation& evaluation_;
};

}  // namespace

Result<ChoiceEvaluation> evaluate_choices(Model& model, const Tokenizer& tokenizer,
                                          const ChoiceTask& task, const ChoiceData& data,
                                          const ChoiceOptions& options, Tape& tape) {
  if (options.batch < 1 || options.shots < 0) {
    return usage_error("batch {}, shots {}: expected at least 1 and 0", options.batch,
                       options.shots);
  }
  ChoiceEvaluation evaluation;
  const double begin = seconds_now();
  const bool likelihood = task.header.empty();
  std::vector<Ask> asks;
  Asker asker(model, tokenizer, task, data, options, evaluation);
  UNMASK_TRY_STATUS(likelihood ? asker.ask_endings(asks) : asker.ask_letters(asks));

  evaluation.chosen.assign(data.questions.size(), -1);
  std::vector<double> best(data.questions.size(), -std::numeric_limits<double>::infinity());
  const auto consider = [&](size_t question, int32_t choice, double score) {
    if (score <= best[question]) return;
    best[question] = score;
    evaluation.chosen[question] = choice;
  };
  RoutingCollector routing(model.config());
  UNMASK_TRY_STATUS(run_in_batches(
      model, asks, options.batch, tape, routing,
      [&](std::span<const Ask> part, PreparedBatch& p) -> Status {
        if (likelihood) {
          UNMASK_TRY_STATUS(model.check_pass(tape));
          model.head_loss(tape, p.rows, p.targets, p.weight, p.loss, Matrix(), nullptr);
          UNMASK_TRY_STATUS(check_finite(p.loss));
          for (size_t i = 0; i < part.size(); ++i) {
            const auto losses = p.losses_of(static_cast<int64_t>(i));
            const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
            consider(part[i].question, part[i].choice, -sum / static_cast<double>(losses.size()));
          }
          return {};
        }
        UNMASK_TRY(const Matrix logits, model.logits(tape, p.rows));
        for (size_t i = 0; i < part.size(); ++i) {
          for (int32_t choice = 0; choice < std::ssize(part[i].letters); ++choice) {
            consider(part[i].question, choice,
                     logits(static_cast<int64_t>(i), part[i].letters[choice]));
          }
        }
        return {};
      }));
  int64_t right = 0;
  for (size_t i = 0; i < data.questions.size(); ++i) {
    right += evaluation.chosen[i] == data.questions[i].answer;
  }
  if (evaluation.left_out == std::ssize(data.questions)) {
    return failure("none of the {} questions fits the model's {} positions", evaluation.left_out,
                   model.config().max_positions);
  }
  evaluation.accuracy =
      accuracy_of(static_cast<double>(right), std::ssize(data.questions) - evaluation.left_out);
  evaluation.routing = routing.layers();
  evaluation.seconds = seconds_now() - begin;
  return evaluation;
}

}  // namespace unmask
