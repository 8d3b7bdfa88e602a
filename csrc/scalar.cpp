#include "scalar.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace culpa {

namespace {

// A number as the sum of two doubles, the second below half a unit in the last place of the first.
struct Pair {
  double high, low;
};

// Dekker 1971, "A floating-point technique for extending the available precision": a + b and a * b
// without an error. The sum asks for |a| >= |b|, or a = 0.
Pair exact_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}
Pair halves(double a) { // of 26 bits each
  const double scaled = a * 134217729.0, high = scaled - (scaled - a);
  return {high, a - high};
}
Pair exact_product(double a, double b) {
  const Pair x = halves(a), y = halves(b);
  const double product = a * b;
  return {product, x.high * y.high - product + x.high * y.low + x.low * y.high + x.low * y.low};
}
Pair product(Pair a, Pair b) {
  const Pair p = exact_product(a.high, b.high);
  return exact_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

// c[0] + c[1] x + c[2] x^2 + ...
template <std::size_t n> double polynomial(const std::array<double, n> &c, double x) {
  double sum = c[n - 1];
  for (std::size_t k = n - 1; k-- > 0;)
    sum = sum * x + c[k];
  return sum;
}

// n coefficients: 1/first!, sign/(first + step)!, 1/(first + 2 step)!, ...
template <std::size_t n>
constexpr std::array<double, n> reciprocal_factorials(int first, int step, int sign) {
  std::array<double, n> c{};
  double factorial = 1, signs = 1;
  int k = 1;
  for (std::size_t i = 0; i < n; ++i, signs *= sign) {
    for (; k <= first + static_cast<int>(i) * step; ++k)
      factorial *= k;
    c[i] = signs / factorial;
  }
  return c;
}

// 1/first, 1/(first + 2), ...
template <std::size_t n> constexpr std::array<double, n> reciprocal_odds(int first) {
  std::array<double, n> c{};
  for (std::size_t i = 0; i < n; ++i)
    c[i] = 1.0 / (first + 2 * static_cast<int>(i));
  return c;
}

// ln 2 in two parts: the first has trailing zeros, so that integers up to 2^11 times it are exact.
constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;

// x = m 2^e with m in [sqrt(1/2), sqrt(2)).
struct Scaled {
  double m, e;
};
Scaled split_exponent(double x) {
  const bool denormal = x < std::numeric_limits<double>::min();
  constexpr auto root = std::bit_cast<std::int64_t>(0.70710678118654752);
  const auto bits = std::bit_cast<std::int64_t>(denormal ? x * 0x1p54 : x);
  const std::int64_t e = (bits - root) >> 52;
  return {std::bit_cast<double>(bits - e * (std::int64_t{1} << 52)),
          static_cast<double>(e) - (denormal ? 54 : 0)};
}

// log(x) to some 2^-65: with s = (m - 1) / (m + 1), log(m) = 2 s + 2 s (s^2/3 + s^4/5 + ...).
Pair wide_log(double x) {
  const auto [m, exponent] = split_exponent(x);
  const double above = m - 1; // exact
  const Pair below = m < 1 ? exact_sum(1, m) : exact_sum(m, 1);
  const double quotient = above / below.high;
  const Pair back = exact_product(quotient, below.high);
  const double rest = above - back.high - back.low - quotient * below.low;
  const Pair s = exact_sum(quotient, rest / below.high);
  const Pair s2 = product(s, s);
  constexpr auto odds = reciprocal_odds<12>(5);
  const double series = polynomial(odds, s2.high);
  constexpr Pair third{1.0 / 3, 1.850371707708594e-17};
  const Pair first = product(s2, third);
  const Pair tail = exact_sum(first.high, first.low + s2.high * s2.high * series);
  const Pair correction = product(s, tail);
  const Pair most = exact_sum(s.high, correction.high);
  const Pair half = exact_sum(most.high, most.low + (s.low + correction.low));
  // The exponent's share is exact but for its last part, and above the other where it is not zero.
  const Pair sum = exact_sum(exponent * ln2_high, 2 * half.high);
  return exact_sum(sum.high, sum.low + (2 * half.low + exponent * ln2_low));
}

// e^(x.high + x.low): x = n ln(2) + r, |r| <= ln(2) / 2, and e^r = 1 + r + r^2 (1/2! + r/3! + ...).
double wide_exponential(Pair x) {
  if (!(x.high <= 709.8)) // a NaN too, which comes out as a NaN
    return x.high * std::numeric_limits<double>::infinity();
  if (x.high < -745.2)
    return 0;
  constexpr double magic = 6755399441055744.0; // rounds to an integer, which its low bits hold
  const double n = x.high * 1.4426950408889634 + magic - magic;
  const Pair r = exact_sum(x.high - n * ln2_high, x.low - n * ln2_low);
  constexpr auto terms = reciprocal_factorials<12>(2, 1, 1);
  const Pair square = exact_product(r.high, r.high);
  const Pair sum = exact_sum(1, r.high);
  const double value =
      sum.high + (sum.low + (r.low + r.low * r.high + square.high * polynomial(terms, r.high)));
  // In two halves: 2^n never overflows on the way.
  const auto whole = static_cast<std::int64_t>(n), half = whole / 2;
  const auto power_of_two = [](std::int64_t e) { return std::bit_cast<double>((e + 1023) << 52); };
  return value * power_of_two(half) * power_of_two(whole - half);
}

} // namespace

double natural_log(double x) {
  const Scaled split = split_exponent(x);
  const double above = split.m - 1, s = above / (2 + above), s2 = s * s;
  constexpr auto odds = reciprocal_odds<12>(3);
  // log(1 + f) = f - f^2/2 + s (f^2/2 + 2 s^2/3 + 2 s^4/5 + ...): the first term is exact.
  const double half_square = 0.5 * above * above;
  const double series = 2 * s2 * polynomial(odds, s2);
  const double rest = half_square - (s * (half_square + series) + split.e * ln2_low);
  return split.e * ln2_high - (rest - above);
}

double natural_log_1p(double x) {
  // 1 + x = sum.high (1 + sum.low / sum.high), and the last factor is next to 1.
  const Pair sum = x < 1 ? exact_sum(1, x) : exact_sum(x, 1);
  const Pair log = wide_log(sum.high);
  const double share = sum.low / sum.high;
  return log.high + (log.low + share);
}

double exponential(double x) { return wide_exponential({x, 0}); }

Power::Power(double base) : base_(base) {
  if (base > 0) {
    const Pair log = wide_log(base);
    log_high_ = log.high;
    log_low_ = log.low;
  }
}

double Power::operator()(double exponent) const {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (exponent == 0 || base_ == 1)
    return 1;
  if (base_ == 0)
    return exponent > 0 ? 0 : infinity;
  if (std::abs(exponent) > 0x1p70) // beyond the range of the answer, and of an exact product
    return (exponent > 0) == (base_ > 1) ? infinity : 0;
  const Pair p = exact_product(exponent, log_high_);
  return wide_exponential(exact_sum(p.high, p.low + exponent * log_low_));
}

double cosine_of_turns(double turns) {
  turns = std::abs(turns);
  turns -= std::floor(turns); // exact
  // Of the nearest quarter the cosine is 1, 0, -1, 0; what is left, in [-1/8, 1/8], is exact too.
  const auto quarter = static_cast<int>(std::floor(turns * 4 + 0.5));
  const double rest = turns - quarter * 0.25;
  const Pair whole = exact_product(rest, 6.283185307179586);
  const Pair angle = {whole.high, whole.low + rest * 2.4492935982947064e-16};
  const Pair square = exact_product(angle.high, angle.high);
  if (quarter % 2 != 0) {
    constexpr auto thirds = reciprocal_factorials<8>(3, 2, -1);
    const double later = angle.high * square.high * polynomial(thirds, square.high);
    const double small = angle.low - angle.high * square.low * (1.0 / 6);
    const double sine = angle.high + (small - later);
    return quarter == 1 ? -sine : sine;
  }
  constexpr auto fourths = reciprocal_factorials<7>(4, 2, -1);
  const Pair sum = exact_sum(1, -0.5 * square.high);
  const double later = square.high * square.high * polynomial(fourths, square.high);
  const double small = sum.low - 0.5 * square.low - angle.high * angle.low;
  const double cosine = sum.high + (small + later);
  return quarter == 2 ? -cosine : cosine;
}

} // namespace culpa
