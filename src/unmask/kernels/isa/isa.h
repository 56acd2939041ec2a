#pragma once

#include <string_view>

namespace unmask {

// Instruction sets that kernels are compiled for, each including those before it.
enum class Isa { avx2, avx512, avx512_vnni, avx512_bf16, amx };

std::string_view name_of(Isa isa);

// The best of the machine; UNMASK_ISA = avx2 | avx512 | avx512-vnni | avx512-bf16 | amx lowers it.
// Read once.
Isa isa_in_use();

// UNMASK_KERNELS=reference: every kernel with a plain twin runs that twin. Read once.
bool use_reference_kernels();

// UNMASK_SPELLED_OUT = pairs | matrix: products run in the layout of the bf16 dot instruction
// (bf16 only) or of matrix registers, spelled out in f32 and so slower, which shows on any machine
// that whole operations are right where there are such. Read once.
enum class SpelledOut { nothing, pairs, matrix };
SpelledOut spelled_out();

}  // namespace unmask
