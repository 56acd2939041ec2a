// Our dense layer against oneDNN's matmul, interleaved in one run: medians of milliseconds, and
// oneDNN's time / ours. oneDNN reads weights it has packed before ("packed"), as a model that does
// not change may; training packs them in every step ("packing"), which is what ours always does.
// Built where libdnnl-dev is installed.
//   OMP_WAIT_POLICY=passive bench_dense [ROUNDS]
// (oneDNN's threads would otherwise wait in a loop while ours work.)
#include "tests/support/numeric.h"
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include <dnnl.hpp>
#include <fmt/core.h>

#include "unmask/kernels/linear.h"
#include "unmask/kernels/measurement.h"

namespace unmask {
namespace {

struct Shape {
  const char* name;
  int64_t tokens, in, out;
};
// The projections and heads of the training comparison's sizes (README).
const Shape kShapes[] = {
    {"S attention", 4096, 128, 384},  {"S head", 2048, 128, 256},
    {"M attention", 2048, 256, 768},  {"M head", 1024, 256, 256},
    {"L attention", 1024, 512, 1536}, {"L head", 512, 512, 8192},
};

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// y = x Wᵀ in oneDNN, activations and weights rounded to bf16 by its reorders when asked.
class Peer {
 public:
  Peer(const Shape& shape, ConstMatrix x, ConstMatrix w, Matrix y, Precision precision) {
    using dnnl::memory;
    using tag = memory::format_tag;
    const auto type =
        precision == Precision::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    const memory::dims xd = {shape.tokens, shape.in}, wd = {shape.in, shape.out},
                       yd = {shape.tokens, shape.out};
    x_plain_ = memory({xd, memory::data_type::f32, tag::ab}, engine_, const_cast<float*>(x.data));
    w_plain_ = memory({wd, memory::data_type::f32, tag::ba}, engine_, const_cast<float*>(w.data));
    y_ = memory({yd, memory::data_type::f32, tag::ab}, engine_, y.data);
    const dnnl::matmul::desc desc({xd, type, tag::ab}, {wd, type, tag::any},
                                  {yd, memory::data_type::f32, tag::ab});
    const dnnl::matmul::primitive_desc primitive(desc, engine_);
    x_ = type == memory::data_type::f32 ? x_plain_ : memory(primitive.src_desc(), engine_);
    w_ = memory(primitive.weights_desc(), engine_);
    matmul_ = dnnl::matmul(primitive);
    pack();
  }
  void pack() {
    dnnl::reorder(w_plain_, w_).execute(stream_, w_plain_, w_);
    stream_.wait();
  }
  void multiply() {
    if (x_ != x_plain_) dnnl::reorder(x_plain_, x_).execute(stream_, x_plain_, x_);
    matmul_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, w_}, {DNNL_ARG_DST, y_}});
    stream_.wait();
  }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::memory x_plain_, w_plain_, x_, w_, y_;
  dnnl::matmul matmul_;
};

void compare(const Shape& shape, Precision precision, int rounds) {
  const TestMatrix x = random_matrix(shape.tokens, shape.in, 1);
  const TestMatrix w = random_matrix(shape.out, shape.in, 2);
  TestMatrix y(shape.tokens, shape.out), peer_y = y;
  Peer peer(shape, x, w, peer_y, precision);
  std::vector<double> ours, packed, packing;
  for (int round = 0; round <= rounds; ++round) {
    const double a = seconds([&] { linear_forward(x, w, {}, y, precision); });
    const double b = seconds([&] { peer.multiply(); });
    const double c = seconds([&] {
      peer.pack();
      peer.multiply();
    });
    if (round == 0) continue;  // touches memory for the first time
    ours.push_back(a);
    packed.push_back(b);
    packing.push_back(c);
  }
  for (int64_t i = 0; i < shape.tokens; i += 97) {
    for (int64_t j = 0; j < shape.out; j += 31) {
      if (std::abs(y(i, j) - peer_y(i, j)) > 1e-2 * std::sqrt(shape.in)) {
        fmt::print("{}: results differ at {}, {}\n", shape.name, i, j);
        std::exit(1);
      }
    }
  }
  const double flop = 2.0 * static_cast<double>(shape.tokens * shape.in * shape.out);
  fmt::print("{:12} {:4} {:8.3f} {:8.1f} {:9.3f} {:9.3f} {:7.2f} {:7.2f}\n", shape.name,
             precision == Precision::f32 ? "f32" : "bf16", 1e3 * median(ours),
             flop / median(ours) / 1e9, 1e3 * median(packed), 1e3 * median(packing),
             median(packed) / median(ours), median(packing) / median(ours));
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  using namespace unmask;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 50;
  fmt::print("{:12} {:4} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7}\n", "", "", "ours ms", "GFLOP/s",
             "packed ms", "packing", "ratio", "ratio");
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Shape& shape : kShapes) compare(shape, precision, rounds);
  }
}
