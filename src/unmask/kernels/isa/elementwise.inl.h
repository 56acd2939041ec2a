// Included inside the namespace of an instruction set, after its lanes and vector_exp.inl.h: the
// functions of elementwise_kernel.h.

namespace {

inline Vec square_root(Vec v) {
  Vec root;
  for (int i = 0; i < kLanes; ++i) root[i] = __builtin_sqrtf(v[i]);
  return root;
}

// The first `n` lanes of p, zeros behind them; all of them as one load.
inline Vec load_up_to(const float* p, int64_t n) {
  return n >= kLanes ? load(p) : load_partial(p, n);
}
inline void store_up_to(float* p, Vec v, int64_t n) {
  n >= kLanes ? store(p, v) : store_partial(p, v, n);
}

// v with zeros behind the first `n` lanes.
inline Vec first_lanes(Vec v, int64_t n) {
  IntVec lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < static_cast<int32_t>(n) ? v : Vec{};
}

inline float largest_lane(Vec v) {
  float largest = v[0];
  for (int i = 1; i < kLanes; ++i) largest = v[i] > largest ? v[i] : largest;
  return largest;
}
inline double sum_of_lanes(Vec v) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(v[i]);
  return sum;
}

float cross_entropy_row(int64_t n, float* logits, int64_t target, const float* weight) {
  const float target_logit = logits[target];

  Vec running = broadcast(target_logit);
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) {
    const Vec z = load(logits + i);
    running = z > running ? z : running;
  }
  float largest = largest_lane(running);
  for (int64_t i = n - n % kLanes; i < n; ++i) largest = logits[i] > largest ? logits[i] : largest;

  // f32 lanes for a while, then f64: a vocabulary of any size costs no accuracy.
  constexpr int64_t kWhile = 64 * kLanes;
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kWhile) {
    const int64_t end = begin + kWhile < n ? begin + kWhile : n;
    Vec partial = zero();
    for (int64_t i = begin; i < end; i += kLanes) {
      Vec e = vector_exp(load_up_to(logits + i, n - i) - largest);
      if (weight != nullptr) store_up_to(logits + i, e, n - i);
      partial += n - i >= kLanes ? e : first_lanes(e, n - i);
    }
    sum += sum_of_lanes(partial);
  }

  if (weight != nullptr) {
    const Vec scale = broadcast(static_cast<float>(static_cast<double>(*weight) / sum));
    for (int64_t i = 0; i < n; i += kLanes) {
      store_up_to(logits + i, load_up_to(logits + i, n - i) * scale, n - i);
    }
    logits[target] -= *weight;
  }
  return static_cast<float>(__builtin_log(sum) + (static_cast<double>(largest) - target_logit));
}

void adamw(const AdamWStep& step, int64_t n, float* parameter, float* gradient, float* first_moment,
           float* second_moment) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t rest = n - i;
    const Vec g = load_up_to(gradient + i, rest) * step.gradient_scale;
    const Vec m = step.beta1 * load_up_to(first_moment + i, rest) + (1.0f - step.beta1) * g;
    const Vec v = step.beta2 * load_up_to(second_moment + i, rest) + (1.0f - step.beta2) * (g * g);
    const Vec p = step.decay * load_up_to(parameter + i, rest) -
                  step.rate * m / (square_root(v) * step.root_scale + step.epsilon);
    store_up_to(parameter + i, p, rest);
    store_up_to(first_moment + i, m, rest);
    store_up_to(second_moment + i, v, rest);
    store_up_to(gradient + i, zero(), rest);
  }
}

}  // namespace

const ElementwiseKernel kElementwise = {&cross_entropy_row, &adamw};
