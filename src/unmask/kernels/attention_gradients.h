#pragma once

#include <algorithm>
#include <cstdint>

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/attention_tiles.h"

// What the backward pass of attention keeps of a head while it works: packed factors and sums.
namespace unmask {

// Keys of one kv head by panels of `kernel.cols`.
struct KeyGradients {
  int64_t keys, d, panels, d_panels;
  int64_t row_panel, column_panel;  // words
  float *k_rows, *v_rows;           // panels [words of d][cols]
  float* k_columns;                 // panels [words of the panel's keys][cols of d]
  float *dk, *dv;                   // sums, [panels][d][cols]

  KeyGradients(const GemmKernel& kernel, int64_t keys, int64_t d, Arena& arena)
      : keys(keys),
        d(d),
        panels(panel_count(kernel, keys)),
        d_panels(panel_count(kernel, d)),
        row_panel(kernel.words(d) * kernel.cols),
        column_panel(kernel.words(kernel.cols) * kernel.cols),
        k_rows(arena.take<float>(panels * row_panel + kPackSlack)),
        v_rows(arena.take<float>(panels * row_panel + kPackSlack)),
        k_columns(arena.take<float>(panels * d_panels * column_panel + kPackSlack)),
        dk(arena.take<float>(panels * d * kernel.cols)),
        dv(arena.take<float>(panels * d * kernel.cols)) {
    std::fill_n(dk, panels * d * kernel.cols, 0.0f);
    std::fill_n(dv, panels * d * kernel.cols, 0.0f);
  }

  float* column_panel_at(int64_t panel, int64_t j) const {
    return k_columns + (panel * d_panels + j) * column_panel;
  }
  void pack(const GemmKernel& kernel, ConstMatrix k, ConstMatrix v, int64_t panel) {
    const int64_t first = panel * kernel.cols, width = panel_width(kernel, keys, panel);
    kernel.b.rows(k.row(first), k.stride, nullptr, width, kernel.cols, d,
                  k_rows + panel * row_panel);
    kernel.b.rows(v.row(first), v.stride, nullptr, width, kernel.cols, d,
                  v_rows + panel * row_panel);
    for (int64_t j = 0; j < d_panels; ++j) {
      kernel.b.columns(k.row(first) + j * kernel.cols, k.stride, nullptr, panel_width(kernel, d, j),
                       kernel.cols, width, column_panel_at(panel, j));
    }
  }
};

// A stretch of queries of one head by tiles.
struct QueryGradients {
  RowFactor q_rows, d_out_rows;           // [queries, d]
  ColumnFactor q_columns, d_out_columns;  // [d, queries]
  float *offset, *centre;                 // [queries] (softmax_kernel.h)
  int64_t stride;
  float* dq;  // sums, [queries][stride]

  QueryGradients(const GemmKernel& kernel, const SequenceTiles& tiles, int64_t d, Arena& arena)
      : q_rows(kernel, tiles, d, arena),
        d_out_rows(kernel, tiles, d, arena),
        q_columns(kernel, tiles.rows, d, arena),
        d_out_columns(kernel, tiles.rows, d, arena),
        offset(arena.take<float>(tiles.rows)),
        centre(arena.take<float>(tiles.rows)),
        stride(panel_count(kernel, d) * kernel.cols),
        dq(arena.take<float>(tiles.rows * stride)) {
    std::fill_n(dq, tiles.rows * stride, 0.0f);
  }

  void pack(const GemmKernel& kernel, ConstMatrix q, ConstMatrix d_out) const {
    q_rows.pack(kernel, q);
    q_columns.pack(kernel, q);
    d_out_rows.pack(kernel, d_out);
    d_out_columns.pack(kernel, d_out);
  }
};

}  // namespace unmask
