// Routers at the shapes they must stay small beside: 16,384 tokens of 512 experts, k = 32, against
// the experts' forward pass (hidden 512, ffn 384: 620 GFLOP), and 32 tokens of 256 experts, k = 8,
// against one layer of LLaDA2-mini.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "unmask/base/check.h"
#include "unmask/base/random.h"
#include "unmask/routing/router.h"
#include "unmask/routing/statistics.h"

namespace {

using namespace unmask;

struct Work {
  RoutingPolicy policy;
  int32_t tokens, experts, sequence;
  bool bias = false;
};

Work pretraining(RoutingPolicy::Selection selection) {
  return {.policy = {.policy = selection, .experts_per_token = 32},
          .tokens = 16384,
          .experts = 512,
          .sequence = 2048};
}
Work token_choice() { return pretraining(RoutingPolicy::Selection::token_choice); }
Work expert_choice() { return pretraining(RoutingPolicy::Selection::expert_choice); }
Work with_losses() {
  Work work = token_choice();
  work.policy.balance = {.switch_loss = 0.01f, .z_loss = 0.001f};
  return work;
}
Work softmax_before() {
  Work work = token_choice();
  work.policy.weights = RoutingPolicy::Weights::softmax_before;
  work.policy.renormalize = false;
  return work;
}
Work llada2_block() {
  return {.policy = {.weights = RoutingPolicy::Weights::sigmoid,
                     .scale = 2.5f,
                     .groups = {{.count = 8, .keep = 4}}},
          .tokens = 32,
          .experts = 256,
          .sequence = 32,
          .bias = true};
}

class Setup {
 public:
  explicit Setup(const Work& work) : work_(work), router_(make(work)) {
    for (int32_t begin = 0; begin <= work.tokens; begin += work.sequence) begin_.push_back(begin);
    mask_ratio_.assign(begin_.size() - 1, 0.5f);
    if (work.bias) bias_.assign(work.experts, 0.01f);
    const int64_t size = int64_t{work.tokens} * work.experts;
    logits_.resize(size);
    d_logits_.resize(size);
    for (int64_t i = 0; i < size; ++i) {
      logits_[i] = random_normal({1, Purpose::synthetic}, static_cast<uint64_t>(i));
    }
    select();
    router_->weigh_forward(logits(), decision_, assignment_);
    d_gate_.assign(assignment_.slots(), 1.0f);
  }

  void select() { router_->select(logits(), context(), assignment_, decision_); }
  void weigh() { router_->weigh_forward(logits(), decision_, assignment_); }
  void weigh_backward() {
    router_->weigh_backward(logits(), decision_, assignment_, d_gate_, d_logits());
  }
  void balance() {
    router_->balance(logits(), context(), decision_, assignment_, 1.0f, d_logits());
  }
  void measure() {
    measure_routing(work_.policy, logits(), decision_, assignment_, context(), 1, statistics_);
  }

 private:
  static std::unique_ptr<Router> make(const Work& work) {
    auto router = make_router(work.policy, work.experts, 1);
    UNMASK_CHECK(router.ok());
    return std::move(router).value();
  }
  ConstMatrix logits() const { return {logits_.data(), work_.tokens, work_.experts}; }
  Matrix d_logits() { return {d_logits_.data(), work_.tokens, work_.experts}; }
  RouteContext context() const {
    RouteContext context;
    context.sequence_begin = begin_;
    context.mask_ratio = mask_ratio_;
    context.expert_bias = bias_;
    return context;
  }

  Work work_;
  std::unique_ptr<Router> router_;
  std::vector<int32_t> begin_;
  std::vector<float> mask_ratio_, bias_, logits_, d_logits_, d_gate_;
  Assignment assignment_;
  Decision decision_;
  RoutingStatistics statistics_;
};

void run(benchmark::State& state, const Work& work, void (Setup::*step)()) {
  Setup setup(work);
  for (auto _ : state) (setup.*step)();
}

#define ROUTING_BENCHMARK(work)                                                                 \
  BENCHMARK_CAPTURE(run, work / select, work(), &Setup::select)->UseRealTime();                 \
  BENCHMARK_CAPTURE(run, work / weigh, work(), &Setup::weigh)->UseRealTime();                   \
  BENCHMARK_CAPTURE(run, work / weigh_backward, work(), &Setup::weigh_backward)->UseRealTime(); \
  BENCHMARK_CAPTURE(run, work / balance, work(), &Setup::balance)->UseRealTime();               \
  BENCHMARK_CAPTURE(run, work / statistics, work(), &Setup::measure)->UseRealTime()

ROUTING_BENCHMARK(token_choice);
ROUTING_BENCHMARK(expert_choice);
ROUTING_BENCHMARK(softmax_before);
ROUTING_BENCHMARK(with_losses);
ROUTING_BENCHMARK(llada2_block);

}  // namespace

BENCHMARK_MAIN();
