// Selection and weights of every policy beside what they must stay small beside, measured in the
// same run. Pre-training: 16,384 tokens of 512 experts, k = 32, and the experts' forward pass
// (hidden 512, width 384: 620 GFLOP); `share` is of its time. Decoding: 32 tokens of 256 experts, k
// = 8, of LLaDA2-mini, and the 70 experts of hidden 2048, width 512 that token choice reads there
// in int8; `share` is of the time that memory needs for their bytes.
//   bench_routing [--benchmark_filter=pretraining/]
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "unmask/base/arena.h"
#include "unmask/base/check.h"
#include "unmask/base/random.h"
#include "unmask/kernels/experts.h"
#include "unmask/kernels/machine.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/router.h"
#include "unmask/routing/statistics.h"

namespace {

using namespace unmask;

struct Work {
  RoutingPolicy policy;
  int32_t tokens, experts, sequence;
  bool bias = false;
};

Work pretraining(RoutingPolicy policy) {
  policy.experts_per_token = 32;
  return {.policy = policy, .tokens = 16384, .experts = 512, .sequence = 2048};
}
Work decoding(RoutingPolicy policy) {
  policy.experts_per_token = 8;
  policy.weights = RoutingPolicy::Weights::sigmoid;
  policy.scale = 2.5f;
  if (chooser_of(policy) == Chooser::token) policy.groups = {.count = 8, .keep = 4};
  return {.policy = policy, .tokens = 32, .experts = 256, .sequence = 32, .bias = true};
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

  void route() {
    select();
    weigh();
  }
  const Assignment& assignment() const { return assignment_; }
  void select() { router_->select(logits(), context(), assignment_, decision_); }
  void weigh() { router_->weigh_forward(logits(), decision_, assignment_); }
  void weigh_backward() {
    router_->weigh_backward(logits(), decision_, assignment_, d_gate_, d_logits());
  }
  void balance() {
    router_->balance(logits(), context(), decision_, assignment_, 1.0f, d_logits());
  }
  void measure() {
    measure_routing(work_.policy, logits(), decision_, assignment_, context(), statistics_);
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

// Seconds of one forward pass of paper A's experts, over a token-choice assignment.
double experts_seconds() {
  constexpr int64_t kHidden = 512, kWidth = 384;
  static const double seconds = [] {
    const Setup setup(pretraining({}));
    const Assignment& assignment = setup.assignment();
    const int64_t experts = assignment.experts, up_rows = experts * kWidth;
    Buffer buffer(sizeof(float) * static_cast<size_t>(3 * up_rows * kHidden));
    std::fill_n(buffer.as<float>(), 3 * up_rows * kHidden, 0.01f);
    float* weights = buffer.as<float>();
    const Matrix gate(weights, up_rows, kHidden), up(weights + gate.size(), up_rows, kHidden);
    const Matrix down(weights + 2 * gate.size(), experts * kHidden, kWidth);
    std::vector<float> in(assignment.tokens * kHidden, 0.5f), out(in.size());
    const Matrix x(in.data(), assignment.tokens, kHidden), y(out.data(), x.rows, kHidden);
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      experts_forward(x, {gate, up, down}, assignment, y, nullptr, nullptr, Precision::bf16);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      best = std::min(best, took.count());
    }
    return best;
  }();
  return seconds;
}

// Seconds for the bytes of the 70 experts of an int8 LLaDA2-mini layer.
double layer_seconds() {
  static const double seconds = 70.0 * 3 * 2048 * 512 / measure_read_bandwidth();
  return seconds;
}

void run(benchmark::State& state, const Work& work, void (Setup::*step)(), double beside) {
  Setup setup(work);
  double seconds = 0;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    (setup.*step)();
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  state.counters["share"] = seconds / static_cast<double>(state.iterations()) / beside;
  state.counters["beside_ms"] = beside * 1e3;
}

void add(const std::string& name, const Work& work, void (Setup::*step)(), double (*beside)()) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) { run(state, work, step, beside()); })
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void add_all() {
  for (const PolicyEntry& entry : policies()) {
    const std::string name(entry.name);
    RoutingPolicy policy;
    policy.policy = entry.policy;
    add("pretraining/" + name, pretraining(policy), &Setup::route, experts_seconds);
    add("decoding/" + name, decoding(policy), &Setup::route, layer_seconds);
  }
  RoutingPolicy policy;
  policy.drop = {.capacity_factor = 1.25};
  add("pretraining/token-choice, drops", pretraining(policy), &Setup::route, experts_seconds);
  policy = {.weights = RoutingPolicy::Weights::softmax_before, .renormalize = false};
  add("pretraining/token-choice, softmax-before", pretraining(policy), &Setup::route,
      experts_seconds);
  policy = {.policy = RoutingPolicy::Selection::expert_choice};
  for (const auto& [name, group] :
       {std::pair{"batch", RoutingPolicy::Group::batch}, {"block", RoutingPolicy::Group::block}}) {
    policy.selection = group;
    add(std::string("pretraining/expert-choice, ") + name, pretraining(policy), &Setup::route,
        experts_seconds);
  }
  // The other stages.
  policy = {.balance = {.switch_loss = 0.01f, .z_loss = 0.001f}};
  add("pretraining/weights, backward", pretraining(policy), &Setup::weigh_backward,
      experts_seconds);
  add("pretraining/balance", pretraining(policy), &Setup::balance, experts_seconds);
  add("pretraining/statistics", pretraining(policy), &Setup::measure, experts_seconds);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
