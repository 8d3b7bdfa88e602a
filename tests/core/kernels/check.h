// What the kernel tests share. Where sums are compared, the numbers are small multiples of 1/32: so
// every sum is exact, in any order and in float too, and a kernel's answer must equal the plain
// loop's. Only functions and divisions need a tolerance.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/kernels.h"

namespace culpa::tests {

using kernels::Kernels;
using kernels::Range;

// Counts, says what failed, and gives up after a few failures.
struct Log {
  std::string place; // table and type
  std::size_t checks = 0, failures = 0;

  void fail(const std::string &what) {
    std::fprintf(stderr, "FAILED %s %s\n", place.c_str(), what.c_str());
    if (++failures == 5)
      std::exit(1);
  }
  void expect(bool holds, const std::string &what) {
    ++checks;
    if (!holds)
      fail(what);
  }
};

// The words and numbers of a message, with a space between.
template <class... Part> std::string say(const Part &...parts) {
  std::ostringstream text;
  text.precision(17);
  const char *between = "";
  ((text << between << parts, between = " "), ...);
  return text.str();
}

// The same numbers in every run, on every machine.
class Numbers {
public:
  std::uint64_t bits() { return generator_(); }
  double exact() { return (static_cast<double>(bits() % 129) - 64) / 32; }
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 11U) * 0x1p-53;
  }
  template <class T> std::vector<T> exact(std::size_t size) {
    std::vector<T> values(size);
    for (T &value : values)
      value = static_cast<T>(exact());
    return values;
  }

private:
  std::mt19937_64 generator_{2026};
};

// A matrix in panels, as kernels.h describes them, with a row left free between panels.
struct Panels {
  std::size_t width, rows, columns;
  std::size_t stride = (rows + 1) * width;

  std::size_t count() const { return (columns + width - 1) / width; }
  std::size_t size() const { return columns ? (count() - 1) * stride + rows * width : 0; }
  std::size_t at(std::size_t row, std::size_t column) const {
    return column / width * stride + row * width + column % width;
  }
  // Not a number beyond the last column: it must not reach any result. And not a value more than
  // the kernel may read: a sanitizer sees that.
  template <class T, class Each> std::vector<T> fill(Each each) const {
    std::vector<T> values(size(), std::numeric_limits<T>::quiet_NaN());
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c)
        values[at(r, c)] = static_cast<T>(each(r, c));
    return values;
  }
};

// Memory that a kernel writes, among canaries. Whatever is neither wanted nor ignored must still be
// as it was.
template <class T> class Output {
public:
  explicit Output(std::size_t size)
      : cells_(size + 2 * guard, canary), wanted_(size + 2 * guard, {canary, 0}) {}

  T *data() { return cells_.data() + guard; }
  // What the kernel finds there, and leaves unless it is wanted otherwise.
  void put(std::size_t i, T value) {
    cells_[guard + i] = value;
    wanted_[guard + i] = {value, 0};
  }
  void want(std::size_t i, double value, double tolerance = 0) {
    wanted_[guard + i] = {value, tolerance};
  }
  void ignore(std::size_t i) { want(i, 0, anything); }

  void check(Log &log, const std::string &what) const {
    std::size_t wrong = 0, first = 0;
    for (std::size_t i = 0; i < cells_.size(); ++i)
      if (!right(static_cast<double>(cells_[i]), wanted_[i]) && wrong++ == 0)
        first = i;
    if (!wrong) {
      ++log.checks;
      return;
    }
    const Wanted wanted = wanted_[first];
    const std::string must = wanted.value == canary
                                 ? "and should not have been written"
                                 : say("instead of", wanted.value, "within", wanted.tolerance);
    log.expect(false,
               say(what + ": element", static_cast<std::ptrdiff_t>(first) - guard, "is",
                   cells_[first], must + ";", wrong, "are wrong of", cells_.size() - 2 * guard));
  }

private:
  struct Wanted {
    double value, tolerance;
  };
  static bool right(double got, Wanted wanted) {
    return got == wanted.value || wanted.tolerance == anything ||
           std::abs(got - wanted.value) <= wanted.tolerance ||
           (std::isnan(got) && std::isnan(wanted.value));
  }
  static constexpr std::ptrdiff_t guard = 64;
  static constexpr T canary = T(-12345.625);
  static constexpr double anything = std::numeric_limits<double>::infinity();

  std::vector<T> cells_;
  std::vector<Wanted> wanted_;
};

// Denormals count as zero while it lives, as they do wherever the core calls a kernel.
class FlushDenormals {
public:
  FlushDenormals(const FlushDenormals &) = delete;
  FlushDenormals &operator=(const FlushDenormals &) = delete;
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040U); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

private:
  unsigned saved_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(saved_ | (std::uint64_t{1} << 24U)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

private:
  std::uint64_t saved_;
#endif
};

// Units in the last place: what a tolerance is stated in.
template <class T> constexpr double ulp = std::numeric_limits<T>::epsilon();

// Each file checks some of the contract's functions.
template <class T> void check_products(const Kernels<T> &, Log &);
template <class T> void check_pack(const Kernels<T> &, Log &);
template <class T> void check_activations(const Kernels<T> &, Log &);
template <class T> void check_elementwise(const Kernels<T> &, Log &);
template <class T> void check_data(const Kernels<T> &, Log &);
template <class T> void check_norm(const Kernels<T> &, Log &);
template <class T> void check_sparse(const Kernels<T> &, Log &);
template <class T> void check_losses(const Kernels<T> &, Log &);

} // namespace culpa::tests
