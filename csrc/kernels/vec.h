// A SIMD register as a C++ type, for the register width CULPA_VECTOR_BYTES of the including file.
// GNU vector extensions give + - * / and comparisons; what they lack (fma, square root, masked
// access) is named here, once for each instruction set, so that no kernel names one.
//
// Everything is in an anonymous namespace: an inline function with external linkage could be merged
// by the linker with the copy of another instruction set, and then an old CPU dies in it.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace culpa::kernels {
namespace {

#define CULPA_INLINE [[gnu::always_inline]] inline

template <class T> struct Simd;
template <> struct Simd<float> {
  typedef float Vec __attribute__((vector_size(CULPA_VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(CULPA_VECTOR_BYTES), aligned(4), may_alias));
  typedef std::int32_t Mask __attribute__((vector_size(CULPA_VECTOR_BYTES)));
  using Int = std::int32_t;
  static constexpr int lanes = CULPA_VECTOR_BYTES / 4;
  static constexpr int mantissa_bits = 23;
  static constexpr Int exponent_bias = 127;
  static constexpr float greatest = __FLT_MAX__;
};
template <> struct Simd<double> {
  typedef double Vec __attribute__((vector_size(CULPA_VECTOR_BYTES)));
  typedef double Unaligned __attribute__((vector_size(CULPA_VECTOR_BYTES), aligned(8), may_alias));
  typedef std::int64_t Mask __attribute__((vector_size(CULPA_VECTOR_BYTES)));
  using Int = std::int64_t;
  static constexpr int lanes = CULPA_VECTOR_BYTES / 8;
  static constexpr int mantissa_bits = 52;
  static constexpr Int exponent_bias = 1023;
  static constexpr double greatest = __DBL_MAX__;
};

template <class T> using Vec = typename Simd<T>::Vec;
template <class T> using Mask = typename Simd<T>::Mask;
template <class T> constexpr int lanes = Simd<T>::lanes;
template <class T> constexpr int panel_width = 2 * lanes<T>;
template <class T> constexpr T max_value = Simd<T>::greatest;

template <class T> CULPA_INLINE Vec<T> load(const T *p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned *>(p);
}
template <class T> CULPA_INLINE void store(T *p, Vec<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned *>(p) = v;
}
template <class T> CULPA_INLINE Vec<T> broadcast(T x) { return x - Vec<T>{}; }

template <class T> CULPA_INLINE Vec<T> select(Mask<T> mask, Vec<T> yes, Vec<T> no) {
  return mask ? yes : no;
}
template <class T> CULPA_INLINE Mask<T> bits(Vec<T> v) { return (Mask<T>)v; }
template <class T> CULPA_INLINE Vec<T> from_bits(Mask<T> m) { return (Vec<T>)m; }

// A NaN in x comes through both: the comparison is false, and x is what remains.
template <class T> CULPA_INLINE Vec<T> at_most(Vec<T> x, T limit) {
  return select<T>(x > limit, broadcast<T>(limit), x);
}
template <class T> CULPA_INLINE Vec<T> at_least(Vec<T> x, T limit) {
  return select<T>(x < limit, broadcast<T>(limit), x);
}
template <class T> CULPA_INLINE Vec<T> absolute(Vec<T> x) {
  return from_bits<T>(bits<T>(x) & ~bits<T>(broadcast<T>(T(-0.0))));
}
template <class T> CULPA_INLINE Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {
  const Mask<T> top = bits<T>(broadcast<T>(T(-0.0)));
  return from_bits<T>((bits<T>(magnitude) & ~top) | (bits<T>(sign) & top));
}

// a * b + c, rounded once where the instruction set has it.
#if defined(__AVX512F__) && CULPA_VECTOR_BYTES == 64
CULPA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fmadd_ps(a, b, c);
}
CULPA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}
// The zero-masked form: the plain one makes GCC 12 warn of its own header (its bug 105593).
CULPA_INLINE Vec<float> square_root(Vec<float> x) { return _mm512_maskz_sqrt_ps(0xffff, x); }
CULPA_INLINE Vec<double> square_root(Vec<double> x) { return _mm512_maskz_sqrt_pd(0xff, x); }
#elif defined(__FMA__) && CULPA_VECTOR_BYTES == 32
CULPA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm256_fmadd_ps(a, b, c);
}
CULPA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}
CULPA_INLINE Vec<float> square_root(Vec<float> x) { return _mm256_sqrt_ps(x); }
CULPA_INLINE Vec<double> square_root(Vec<double> x) { return _mm256_sqrt_pd(x); }
#elif defined(__aarch64__)
CULPA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
CULPA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
CULPA_INLINE Vec<float> square_root(Vec<float> x) { return (Vec<float>)vsqrtq_f32((float32x4_t)x); }
CULPA_INLINE Vec<double> square_root(Vec<double> x) {
  return (Vec<double>)vsqrtq_f64((float64x2_t)x);
}
#else
CULPA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return a * b + c; }
CULPA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return a * b + c; }
CULPA_INLINE Vec<float> square_root(Vec<float> x) { return _mm_sqrt_ps(x); }
CULPA_INLINE Vec<double> square_root(Vec<double> x) { return _mm_sqrt_pd(x); }
#endif
template <class T> CULPA_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, T c) {
  return fma(a, b, broadcast<T>(c));
}

// The first n lanes only (0 <= n <= lanes); the others load as zero and are not stored.
#if defined(__AVX512F__) && CULPA_VECTOR_BYTES == 64
CULPA_INLINE Vec<float> load_first(const float *p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1U), p);
}
CULPA_INLINE Vec<double> load_first(const double *p, int n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << n) - 1U), p);
}
CULPA_INLINE void store_first(float *p, Vec<float> v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1U), v);
}
CULPA_INLINE void store_first(double *p, Vec<double> v, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1U << n) - 1U), v);
}
#else
template <class T> CULPA_INLINE Vec<T> load_first(const T *p, int n) {
  Vec<T> v{};
  for (int i = 0; i < n; ++i)
    v[i] = p[i];
  return v;
}
template <class T> CULPA_INLINE void store_first(T *p, Vec<T> v, int n) {
  for (int i = 0; i < n; ++i)
    p[i] = v[i];
}
#endif

// Each lane i beside lane i ^ distance.
template <class T, std::size_t distance, std::size_t... i>
CULPA_INLINE Vec<T> partners(Vec<T> v, std::integer_sequence<std::size_t, i...> /*lane*/) {
  return __builtin_shufflevector(v, v, (i ^ distance)...);
}

// The products of the low halves of 64-bit lanes, whole.
typedef std::uint64_t Wide __attribute__((vector_size(CULPA_VECTOR_BYTES)));
CULPA_INLINE Wide multiply_low(Wide a, Wide b) {
#if defined(__AVX512F__) && CULPA_VECTOR_BYTES == 64
  return (Wide)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b); // zero-masked: as square_root
#elif defined(__AVX2__) && CULPA_VECTOR_BYTES == 32
  return (Wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__aarch64__)
  return (Wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
  return (Wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#endif
}

// Lane sums and maxima in a fixed order: halves folded onto each other.
template <class T, std::size_t distance = lanes<T> / 2> CULPA_INLINE T sum(Vec<T> v) {
  if constexpr (distance == 0)
    return v[0];
  else
    return sum<T, distance / 2>(v + partners<T, distance>(v, std::make_index_sequence<lanes<T>>{}));
}
template <class T, std::size_t distance = lanes<T> / 2> CULPA_INLINE T maximum(Vec<T> v) {
  if constexpr (distance == 0)
    return v[0];
  else {
    const Vec<T> other = partners<T, distance>(v, std::make_index_sequence<lanes<T>>{});
    return maximum<T, distance / 2>(select<T>(v < other, other, v));
  }
}

// Where a lane's number has the bit `distance`, a's lane and the one of b without it change places.
template <class T, int distance, std::size_t... i>
CULPA_INLINE void exchange(Vec<T> &a, Vec<T> &b,
                           std::integer_sequence<std::size_t, i...> /*lane*/) {
  constexpr int n = lanes<T>;
  const Vec<T> first = __builtin_shufflevector(a, b, (i & distance ? n + i - distance : i)...);
  b = __builtin_shufflevector(a, b, (i & distance ? n + i : i + distance)...);
  a = first;
}

} // namespace
} // namespace culpa::kernels
