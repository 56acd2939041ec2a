#pragma once

#include <cstddef>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/kernels/isa/peak_kernel.h"

namespace unmask {

// What the machine gives all threads together, measured now (about a second): the two ceilings
// that every benchmark is compared with.
struct MachinePeaks {
  double read_bytes_per_second = 0;  // streaming reads of memory larger than the caches
  double f32_flops = 0;              // fused multiply-adds, two operations each
  double bf16_flops = 0;             // on the bf16 dot instruction; f32_flops where there is none
  double int8_ops = 0;               // dot products of bytes with sums of 32 bits
};

MachinePeaks measure_machine();

// Only the arithmetic peak of a precision (about 0.2 s).
double measure_f32_flops();
double measure_bf16_flops();
double measure_int8_ops();
double measure_read_bandwidth();

// Operations per second of one run of all threads, about five milliseconds.
double arithmetic_rate(const PeakKernel& kernel);

// Bytes per second of reading this memory once, in order, by all threads.
double read_rate(std::span<const std::byte> memory);
// 512 MiB to read: more than any last-level cache holds.
Buffer memory_beyond_caches();

}  // namespace unmask
