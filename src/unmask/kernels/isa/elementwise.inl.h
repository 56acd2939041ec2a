// Included inside the namespace of an instruction set, after its lanes, rows.inl.h and
// vector_exp.inl.h: the functions of elementwise_kernel.h.

namespace {

inline Vec square_root(Vec v) {
  Vec root;
  for (int i = 0; i < kLanes; ++i) root[i] = __builtin_sqrtf(v[i]);
  return root;
}

// v with zeros behind the first `n` lanes.
inline Vec first_lanes(Vec v, int64_t n) {
  IntVec lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < static_cast<int32_t>(n) ? v : Vec{};
}

// `any` is one of them.
float largest_logit(int64_t n, const float* logits, float any) {
  Vec running = broadcast(any);
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) {
    const Vec z = load(logits + i);
    running = z > running ? z : running;
  }
  float largest = largest_lane(running);
  for (int64_t i = n - n % kLanes; i < n; ++i) largest = logits[i] > largest ? logits[i] : largest;
  return largest;
}

// f32 lanes for a while, then f64: a vocabulary of any size costs no accuracy.
constexpr int64_t kWhile = 64 * kLanes;

float cross_entropy_row(int64_t n, float* logits, int64_t target, const float* weight) {
  const float target_logit = logits[target];
  const float largest = largest_logit(n, logits, target_logit);

  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kWhile) {
    const int64_t end = begin + kWhile < n ? begin + kWhile : n;
    Vec partial = zero();
    for (int64_t i = begin; i < end; i += kLanes) {
      Vec e = vector_exp(load_up_to(logits + i, n - i) - largest);
      if (weight != nullptr) store_up_to(logits + i, e, n - i);
      partial += n - i >= kLanes ? e : first_lanes(e, n - i);
    }
    sum += static_cast<double>(sum_of_lanes(partial));
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

// With z the logits less the largest, e = exp(z), S = sum e, M = sum e z / S, the mean of z:
//   H = log S - M,   log p_j + H = z_j - M,
//   gradient_j = weight (p_j (1 - beta (z_j - M)) - onehot_j),   p_j = e_j / S.
float confident_cross_entropy_row(int64_t n, float* logits, int64_t target, float beta,
                                  const float* weight, float* entropy) {
  const float largest = logits[target];
  if (largest_logit(n, logits, largest) > largest) {
    *entropy = 0;
    return cross_entropy_row(n, logits, target, weight);
  }

  double sum = 0, weighted = 0;
  for (int64_t begin = 0; begin < n; begin += kWhile) {
    const int64_t end = begin + kWhile < n ? begin + kWhile : n;
    Vec partial = zero(), partial_weighted = zero();
    for (int64_t i = begin; i < end; i += kLanes) {
      const Vec z = load_up_to(logits + i, n - i) - largest;
      const Vec e = n - i >= kLanes ? vector_exp(z) : first_lanes(vector_exp(z), n - i);
      partial += e;
      partial_weighted += e == 0.0f ? e : e * z;  // z may be -infinity
    }
    sum += static_cast<double>(sum_of_lanes(partial));
    weighted += static_cast<double>(sum_of_lanes(partial_weighted));
  }
  const double mean = weighted / sum, log_sum = __builtin_log(sum);
  *entropy = static_cast<float>(log_sum - mean);

  if (weight != nullptr) {
    const Vec scale = broadcast(static_cast<float>(static_cast<double>(*weight) / sum));
    const auto center = static_cast<float>(mean);
    for (int64_t i = 0; i < n; i += kLanes) {
      const Vec z = load_up_to(logits + i, n - i) - largest;
      const Vec e = vector_exp(z);
      const Vec gradient = scale * e * (1.0f - beta * (z - center));
      store_up_to(logits + i, e == 0.0f ? e : gradient, n - i);
    }
    logits[target] -= *weight;
  }
  return static_cast<float>(log_sum);
}

void copy_as_bf16(int64_t n, const float* value, bf16* rounded) {
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) stream(rounded + i, load(value + i));
  if (whole < n) {
    alignas(kLineBytes) bf16 last[kLanes];
    stream(last, load_partial(value + whole, n - whole));
    for (int64_t i = whole; i < n; ++i) rounded[i].bits = last[i - whole].bits;
  }
  _mm_sfence();  // it is there before another thread asks for it
}

void adamw(const AdamWStep& step, int64_t n, float* parameter, const float* gradient,
           float* first_moment, float* second_moment) {
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
  }
}

}  // namespace

const ElementwiseKernel kElementwise = {&cross_entropy_row, &confident_cross_entropy_row,
                                        &copy_as_bf16, &adamw};
