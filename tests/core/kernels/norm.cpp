// add, affine, normalize and normalize_back.
#include <algorithm>

#include "check.h"

namespace culpa::tests {
namespace {

template <class T> void check_add(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  for (const std::size_t registers : {0, 1, 3, 10}) {
    const std::size_t n = registers * k.panel / 2;
    const auto before = numbers.exact<T>(n), other = numbers.exact<T>(n);
    Output<T> sums(n);
    for (std::size_t i = 0; i < n; ++i) {
      sums.put(i, before[i]);
      sums.want(i, static_cast<double>(before[i]) + static_cast<double>(other[i]));
    }
    k.add(sums.data(), other.data(), n);
    sums.check(log, say("add of", n, "values"));
  }
}

template <class T>
void check_affine(const Kernels<T> &k, std::size_t rows, std::size_t columns, bool shifted,
                  Numbers &numbers, Log &log) {
  const Panels at{k.panel, rows, columns};
  const auto number = [&](std::size_t, std::size_t) { return numbers.exact(); };
  const std::vector<T> x = at.template fill<T>(number);
  const auto factor = numbers.exact<T>(at.count() * k.panel);
  const auto shift = numbers.exact<T>(at.count() * k.panel);
  Output<T> y(at.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < at.count() * k.panel; ++c) { // whole panels are written
      const double value = static_cast<double>(x[at.at(r, c)]) * static_cast<double>(factor[c]);
      y.want(at.at(r, c), value + (shifted ? static_cast<double>(shift[c]) : 0));
    }
  k.affine({.x = x.data(),
            .x_stride = at.stride,
            .factor = factor.data(),
            .shift = shifted ? shift.data() : nullptr,
            .y = y.data(),
            .y_stride = at.stride},
           {0, rows}, {0, at.count()});
  y.check(log, say("affine", rows, "x", columns, "shifted", shifted));
}

// y and 1 / deviation of each row, and what becomes of error signals, by the formulas in kernels.h.
template <class T>
void check_normalize(const Kernels<T> &k, std::size_t rows, std::size_t columns, Numbers &numbers,
                     Log &log) {
  const Panels at{k.panel, rows, columns};
  const auto number = [&](std::size_t, std::size_t) { return numbers.uniform(-3, 5); };
  const std::vector<T> x = at.template fill<T>(number), g = at.template fill<T>(number);
  const double epsilon = 1e-3, n = static_cast<double>(columns);
  std::vector<T> y(at.size()), delta = g, inverses(rows);
  k.normalize({.x = x.data(),
               .x_stride = at.stride,
               .columns = columns,
               .rows = {0, rows},
               .epsilon = static_cast<T>(epsilon),
               .y = y.data(),
               .y_stride = at.stride,
               .inverses = inverses.data()});
  k.normalize_back({.y = y.data(),
                    .y_stride = at.stride,
                    .columns = columns,
                    .rows = {0, rows},
                    .inverses = inverses.data(),
                    .delta = delta.data(),
                    .delta_stride = at.stride});
  const double near = sizeof(T) == 4 ? 2e-5 : 1e-13;
  for (std::size_t r = 0; r < rows; ++r) {
    const auto of = [&](const std::vector<T> &values, std::size_t c) {
      return static_cast<double>(values[at.at(r, c)]);
    };
    double mean = 0, variance = 0, mean_g = 0, mean_gy = 0;
    for (std::size_t c = 0; c < columns; ++c)
      mean += of(x, c) / n;
    for (std::size_t c = 0; c < columns; ++c)
      variance += (of(x, c) - mean) * (of(x, c) - mean) / n;
    const double inverse = 1 / std::sqrt(variance + epsilon);
    for (std::size_t c = 0; c < columns; ++c) {
      mean_g += of(g, c) / n;
      mean_gy += of(g, c) * (of(x, c) - mean) * inverse / n;
    }
    for (std::size_t c = 0; c < columns; ++c) {
      const double normalized = (of(x, c) - mean) * inverse;
      const double back = inverse * (of(g, c) - mean_g - normalized * mean_gy);
      const double size = 8 * std::max(inverse, 1.0); // of the terms that cancel
      log.expect(std::abs(of(y, c) - normalized) <= near * size,
                 say("normalize", rows, "x", columns, "row", r, "column", c));
      log.expect(std::abs(of(delta, c) - back) <= near * size * size,
                 say("normalize_back", rows, "x", columns, "row", r, "column", c));
    }
    for (std::size_t c = columns; c < at.count() * k.panel && c % (k.panel / 2); ++c)
      log.expect(of(y, c) == 0 && of(delta, c) == 0, say("zeros behind", columns, "columns"));
  }
}

} // namespace

template <class T> void check_norm(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  check_add(k, log);
  for (const std::size_t columns : {std::size_t{1}, std::size_t{2}, k.panel / 2, k.panel - 1,
                                    k.panel, k.panel + 1, 5 * k.panel + 3})
    for (const std::size_t rows : {1, 2, 7}) {
      for (const bool shifted : {false, true})
        check_affine(k, rows, columns, shifted, numbers, log);
      check_normalize(k, rows, columns, numbers, log);
    }
}

template void check_norm(const Kernels<float> &, Log &);
template void check_norm(const Kernels<double> &, Log &);

} // namespace culpa::tests
