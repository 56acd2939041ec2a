// Included inside the namespace of an instruction set: loops whose indices are constants.

namespace {

#define UNMASK_INLINE __attribute__((always_inline))

// body(0) … body(kCount - 1), each index a constant: GCC 12 unrolls long loops only after it has
// decided that the sums they index live in memory.
template <int kIndex>
struct Constant {
  constexpr operator int() const { return kIndex; }
};
template <class Body, int... kIndices>
UNMASK_INLINE inline void unrolled(Body body, std::integer_sequence<int, kIndices...>) {
  (body(Constant<kIndices>()), ...);
}
template <int kCount, class Body>
UNMASK_INLINE inline void unrolled(Body body) {
  unrolled(body, std::make_integer_sequence<int, kCount>());
}

}  // namespace
