#include "unmask/model/attention_layer.h"

#include <cmath>

#include "unmask/kernels/attention.h"
#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/linear.h"
#include "unmask/kernels/norm.h"
#include "unmask/kernels/rope.h"

namespace unmask {
namespace {

// Columns of a table that holds Q, then K, then V.
struct QkvColumns {
  int64_t q, kv;
  explicit QkvColumns(const ModelConfig& config)
      : q(int64_t{config.heads} * config.head_dim),
        kv(int64_t{config.kv_heads} * config.head_dim) {}
  int64_t all() const { return q + 2 * kv; }
  Matrix query(Matrix qkv) const { return qkv.col_range(0, q); }
  Matrix key(Matrix qkv) const { return qkv.col_range(q, kv); }
  Matrix value(Matrix qkv) const { return qkv.col_range(q + kv, kv); }
};

AttentionShape attention_shape(const ModelConfig& config) {
  return {config.heads, config.kv_heads, config.head_dim,
          1.0f / std::sqrt(static_cast<float>(config.head_dim))};
}

// Queries and keys after norm and RoPE, and what their backward pass needs.
struct Rotated {
  Matrix q, k;                  // [N, heads d], [N, kv_heads d]
  Matrix q_inv_rms, k_inv_rms;  // [N, heads], [N, kv_heads]
};

Rotated rotate(const LayerContext& context, ConstMatrix q_norm, ConstMatrix k_norm, Matrix qkv) {
  const ModelConfig& config = context.config;
  const QkvColumns columns(config);
  const int64_t n = qkv.rows;
  Rotated r{context.scratch.matrix(n, columns.q), context.scratch.matrix(n, columns.kv),
            context.scratch.matrix(n, config.heads), context.scratch.matrix(n, config.kv_heads)};
  qk_norm_rope_forward(columns.query(qkv), q_norm, config.norm_epsilon, context.rope,
                       context.batch.positions, config.head_dim, r.q, r.q_inv_rms);
  qk_norm_rope_forward(columns.key(qkv), k_norm, config.norm_epsilon, context.rope,
                       context.batch.positions, config.head_dim, r.k, r.k_inv_rms);
  return r;
}

// Each sequence against its cache, where its own keys and values go first.
void attend_to_caches(const LayerContext& context, int32_t layer, ConstMatrix q, ConstMatrix k,
                      ConstMatrix v, Matrix out) {
  for (const CachedRows& rows : context.batch.cached) {
    const int64_t count = rows.row_end - rows.row_begin;
    rows.cache->write(layer, rows.first, k.row_range(rows.row_begin, count),
                      v.row_range(rows.row_begin, count));
    rows.cache->with_heads(layer, [&](const auto& keys, const auto& values) {
      attention_forward(q.row_range(rows.row_begin, count), keys, values, rows.attention,
                        attention_shape(context.config), out.row_range(rows.row_begin, count),
                        context.precision);
    });
  }
}

}  // namespace

AttentionParameters attention_parameters(const Parameters& parameters, int32_t layer) {
  const ParameterLayout::Layer& index = parameters.layout().layers[layer];
  const auto view = [&](int i) { return i < 0 ? Matrix() : parameters[i]; };
  return {view(index.attention_norm),
          view(index.qkv),
          view(index.qkv_bias),
          view(index.q_norm),
          view(index.k_norm),
          view(index.attention_out),
          view(index.attention_out_bias)};
}

void attention_layer_forward(const LayerContext& context, int32_t layer, const AttentionWeights& w,
                             ConstMatrix x, Matrix y, Arena& keep, AttentionSaved& saved) {
  const ProfileScope time(context.profile.attention);
  const ModelConfig& config = context.config;
  const QkvColumns columns(config);
  const int64_t n = x.rows;
  saved.inv_rms = keep.matrix(n, 1);
  saved.qkv = keep.matrix(n, columns.all());
  saved.attended = keep.matrix(n, columns.q);
  saved.log_sum_exp = keep.matrix(n, config.heads);
  const ArenaScope scope(context.scratch);

  const Matrix normed = context.scratch.matrix(n, config.hidden);
  rms_norm_forward(x, w.norm, config.norm_epsilon, normed, saved.inv_rms);
  linear_forward(normed, w.qkv, w.qkv_bias, saved.qkv, context.precision);

  const Rotated r = rotate(context, w.q_norm, w.k_norm, saved.qkv);
  const Matrix values = columns.value(saved.qkv);
  if (context.batch.cached.empty()) {
    attention_forward(r.q, r.k, values, *context.batch.attention, attention_shape(config),
                      saved.attended, saved.log_sum_exp, context.precision);
  } else {
    attend_to_caches(context, layer, r.q, r.k, values, saved.attended);
  }

  linear_forward(saved.attended, w.out, w.out_bias, y, context.precision);
  add(x, y);
}

void attention_layer_backward(const LayerContext& context, const AttentionParameters& p,
                              ConstMatrix x, const AttentionSaved& saved, Matrix d_x, Matrix work,
                              const AttentionParameters& d) {
  const ProfileScope time(context.profile.attention);
  const ModelConfig& config = context.config;
  const QkvColumns columns(config);
  const int64_t n = x.rows;
  const ArenaScope scope(context.scratch);
  const Matrix d_qkv = context.scratch.matrix(n, columns.all());
  const Matrix d_q = columns.query(d_qkv), d_k = columns.key(d_qkv), d_v = columns.value(d_qkv);
  {
    const ArenaScope inner(context.scratch);
    const Matrix d_attended = context.scratch.matrix(n, columns.q);
    linear_backward(saved.attended, p.out, d_x, d_attended, d.out, d.out_bias, Write::set,
                    context.precision);

    const Rotated r = rotate(context, p.q_norm, p.k_norm, saved.qkv);
    attention_backward(r.q, r.k, columns.value(saved.qkv), saved.attended, saved.log_sum_exp,
                       d_attended, *context.batch.attention, attention_shape(config), d_q, d_k, d_v,
                       context.precision);
    qk_norm_rope_backward(columns.query(saved.qkv), p.q_norm, r.q_inv_rms, context.rope,
                          context.batch.positions, config.head_dim, d_q, d_q, d.q_norm);
    qk_norm_rope_backward(columns.key(saved.qkv), p.k_norm, r.k_inv_rms, context.rope,
                          context.batch.positions, config.head_dim, d_k, d_k, d.k_norm);
  }
  const Matrix normed = context.scratch.matrix(n, config.hidden);
  rms_norm_forward(x, p.norm, config.norm_epsilon, normed, {});
  linear_backward(normed, p.qkv, d_qkv, work, d.qkv, d.qkv_bias, Write::set, context.precision);
  rms_norm_backward(x, p.norm, saved.inv_rms, work, d_x, d.norm);
}

}  // namespace unmask
