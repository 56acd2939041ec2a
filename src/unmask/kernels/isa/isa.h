#pragma once

#include <string_view>

namespace unmask {

// Instruction sets that kernels are compiled for, each including those before it.
enum class Isa { avx2, avx512, avx512_vnni, avx512_bf16 };

std::string_view name_of(Isa isa);

// The best of the machine; UNMASK_ISA = avx2 | avx512 | avx512-vnni | avx512-bf16
// lowers it. Read once.
Isa isa_in_use();

// UNMASK_KERNELS=reference: every kernel with a plain twin runs that twin. Read once.
bool use_reference_kernels();

// UNMASK_BF16=pairs: machines without a bf16 dot instruction multiply bf16 in its layout, spelled
// out in f32 and so slower, which shows that whole operations are right where there is one. Read
// once.
bool spell_out_pairs();

}  // namespace unmask
