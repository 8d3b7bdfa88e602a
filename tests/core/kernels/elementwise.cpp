// multiply, mask_positive, update, sum_of_squares, (sparse_)row_squares, noise and peak.
#include "check.h"

namespace culpa::tests {
namespace {

template <class T> void check_multiply_and_mask(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  for (const std::size_t registers : {0, 1, 2, 3, 10}) {
    const std::size_t n = registers * k.panel / 2;
    const auto before = numbers.exact<T>(n);
    auto other = numbers.exact<T>(n);
    Output<T> product(n), masked(n);
    for (std::size_t i = 0; i < n; ++i) {
      other[i] *= i % 3 ? T(1) : T(0);
      product.put(i, before[i]);
      product.want(i, static_cast<double>(before[i]) * static_cast<double>(other[i]));
      masked.put(i, before[i]);
      masked.want(i, other[i] > 0 ? static_cast<double>(before[i]) : 0);
    }
    k.multiply(product.data(), other.data(), n);
    k.mask_positive(masked.data(), other.data(), n);
    product.check(log, say("multiply of", n, "values"));
    masked.check(log, say("mask_positive of", n, "values"));
  }
}

// A result, and how great the terms were that it is the sum of.
struct Sum {
  double value = 0, size = 0;
};
Sum operator+(Sum a, Sum b) { return {a.value + b.value, a.size + b.size}; }
Sum operator*(double factor, Sum a) { return {factor * a.value, std::abs(factor) * a.size}; }
Sum exactly(double value) { return {value, std::abs(value)}; }

// One parameter and its moments.
struct State {
  Sum parameter, first, second;
};

// The step of torch.optim, or with `velocity` of scikit-learn, whose buffer holds the step.
template <class T> State step(const kernels::UpdateRule<T> &rule, State s, double gradient) {
  const double rate = rule.rate, momentum = rule.momentum, beta_1 = rule.beta_1;
  const double beta_2 = rule.beta_2;
  const Sum g = rule.gradient_scale * exactly(gradient) + rule.l2 * s.parameter;
  const Sum square{g.value * g.value, g.value * g.value};
  Sum move;
  switch (rule.rule) {
  case Rule::sgd:
    if (rule.momentum == 0) {
      move = -rate * g;
      break;
    }
    s.first = momentum * s.first + (rule.velocity ? -rate : 1) * g;
    move = rule.nesterov ? (rule.velocity ? -rate : 1) * g + momentum * s.first : s.first;
    move = (rule.velocity ? 1 : -rate) * move;
    break;
  case Rule::adam:
    s.first = beta_1 * s.first + (1 - beta_1) * g;
    s.second = beta_2 * s.second + (1 - beta_2) * square;
    move = -rate / (std::sqrt(s.second.value) * rule.variance_scale + rule.epsilon) * s.first;
    break;
  case Rule::rmsprop:
    s.second = beta_2 * s.second + (1 - beta_2) * square;
    move = 1 / (std::sqrt(s.second.value) + rule.epsilon) * g;
    if (rule.momentum != 0)
      move = s.first = momentum * s.first + move;
    move = -rate * move;
    break;
  case Rule::lion:
    const double mix = beta_1 * s.first.value + (1 - beta_1) * g.value;
    s.first = beta_2 * s.first + (1 - beta_2) * g;
    move = -rate * exactly(mix > 0 ? 1 : mix < 0 ? -1 : 0);
    break;
  }
  s.parameter = rule.shrink * s.parameter + move;
  return s;
}

template <class T>
void check_update_of(const Kernels<T> &k, const kernels::UpdateRule<T> &rule,
                     const std::string &name, Log &log) {
  const std::size_t lanes = k.panel / 2;
  const bool has_first = rule.rule == Rule::adam || rule.rule == Rule::lion || rule.momentum != 0;
  const bool has_second = rule.rule == Rule::adam || rule.rule == Rule::rmsprop;
  Numbers numbers;
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{1}, lanes - 1, lanes, lanes + 1, 7 * lanes + lanes - 1}) {
    auto gradient = numbers.exact<T>(n);
    Output<T> parameters(n), first(n), second(n);
    for (std::size_t i = 0; i < n; ++i) {
      // Gradients of any size, with moments like them.
      const double size = rule.l2 == 0 ? std::pow(10, numbers.uniform(-12, 3)) : 1;
      gradient[i] *= static_cast<T>(size);
      const auto p = static_cast<T>(numbers.exact()), m = static_cast<T>(numbers.exact() * size);
      const auto v = static_cast<T>(numbers.uniform(0.01, 1) * size * size);
      const State after =
          step<T>(rule, {exactly(p), exactly(has_first ? m : 0), exactly(v)}, gradient[i]);
      const auto want = [&](Output<T> &to, T before, Sum what) {
        to.put(i, before);
        to.want(i, what.value, 4 * ulp<T> * what.size);
      };
      want(parameters, p, after.parameter);
      if (has_first)
        want(first, m, after.first);
      if (has_second)
        want(second, v, after.second);
    }
    k.update(rule, parameters.data(), gradient.data(), has_first ? first.data() : nullptr,
             has_second ? second.data() : nullptr, n);
    const std::string what = say(name, "of", n, "parameters");
    parameters.check(log, "update " + what);
    first.check(log, "first moment after " + what);
    second.check(log, "second moment after " + what);
  }
}

template <class T> void check_update(const Kernels<T> &k, Log &log) {
  const auto check = [&](Rule kind, const char *name, double momentum, bool nesterov,
                         bool velocity) {
    for (const bool decays : {false, true}) {
      const kernels::UpdateRule<T> rule = {.rule = kind,
                                           .gradient_scale = T(0.25),
                                           .l2 = decays ? T(0.01) : T(0),
                                           .shrink = decays ? T(0.99) : T(1),
                                           .rate = T(0.1),
                                           .beta_1 = T(0.9),
                                           .beta_2 = T(0.999),
                                           .rest_1 = T(0.1),
                                           .rest_2 = T(0.001),
                                           .variance_scale = T(1.5),
                                           .epsilon = T(1e-8),
                                           .momentum = static_cast<T>(momentum),
                                           .nesterov = nesterov,
                                           .velocity = velocity};
      check_update_of(k, rule,
                      say(name, "momentum", momentum, "nesterov", nesterov, "velocity", velocity,
                          "decay", decays),
                      log);
    }
  };
  check(Rule::adam, "adam", 0, false, false);
  check(Rule::lion, "lion", 0, false, false);
  check(Rule::rmsprop, "rmsprop", 0, false, false);
  check(Rule::rmsprop, "rmsprop", 0.9, false, false);
  check(Rule::sgd, "sgd", 0, false, false);
  for (const bool nesterov : {false, true})
    for (const bool velocity : {false, true})
      check(Rule::sgd, "sgd", 0.9, nesterov, velocity);
}

// A gradient whose square overflows makes no step, as in PyTorch; in float, a square that fits once
// it has been multiplied by 1 - beta does make one. No gradient at all makes no step, however small
// epsilon.
template <class T> void check_update_at_the_ends(const Kernels<T> &k, Log &log) {
  using Limits = std::numeric_limits<T>;
  const T root = std::sqrt(Limits::max());
  for (const Rule kind : {Rule::adam, Rule::rmsprop})
    for (const T gradient : {T(0), T(4) * root, T(-4) * root, T(1000) * root}) {
      const std::size_t n = k.panel + 3;
      std::vector<T> p(n, T(1)), g(n, gradient), m(n, T(0)), v(n, T(0));
      k.update({.rule = kind,
                .gradient_scale = T(1),
                .l2 = T(0),
                .shrink = T(1),
                .rate = T(1),
                .beta_1 = T(0.9),
                .beta_2 = T(0.999),
                .rest_1 = T(0.1),
                .rest_2 = T(0.001),
                .variance_scale = T(1),
                .epsilon = Limits::min(),
                .momentum = T(0),
                .nesterov = false,
                .velocity = false},
               p.data(), g.data(), m.data(), v.data(), n);
      const bool fits = gradient == T(0) || (sizeof(T) == 4 && std::abs(gradient) < T(10) * root);
      const double step =
          gradient == T(0) || !fits
              ? 0
              : (kind == Rule::adam ? 0.1 : 1.0) / std::sqrt(0.001) * (gradient > T(0) ? 1 : -1);
      for (std::size_t i = 0; i < n; ++i) {
        log.expect(std::abs(static_cast<double>(p[i]) - (1 - step)) <= 16 * ulp<T> * std::abs(step),
                   say("update by a gradient of", gradient, "gives", p[i], "instead of", 1 - step));
        log.expect(std::isinf(v[i]) != fits, say("second moment of", gradient, "is", v[i]));
      }
    }
}

template <class T> void check_sum_of_squares(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  for (const std::size_t n : {0, 1, 7, 8, 9, 15, 16, 17, 1000}) {
    const auto values = numbers.exact<T>(n);
    double total = 0;
    for (const T value : values)
      total += static_cast<double>(value) * static_cast<double>(value);
    const double got = k.sum_of_squares(values.data(), n);
    log.expect(got == total, say("sum_of_squares of", n, "values is", got, "instead of", total));
  }
}

template <class T> void check_row_squares(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  const std::size_t height = 11, stride = (height + 2) * k.panel;
  for (const std::size_t columns : {std::size_t{1}, k.panel - 1, k.panel, 2 * k.panel + 3}) {
    const auto values = numbers.exact<T>((columns / k.panel + 1) * stride);
    for (const Range rows : {Range{0, height}, Range{3, 4}, Range{2, 9}, Range{5, 5}}) {
      std::vector<double> sums(height, 2.0);
      k.row_squares({values.data(), stride, columns, rows, sums.data()});
      for (std::size_t r = 0; r < height; ++r) {
        double total = 2;
        for (std::size_t j = 0; r >= rows.begin && r < rows.end && j < columns; ++j) {
          const auto x =
              static_cast<double>(values[j / k.panel * stride + r * k.panel + j % k.panel]);
          total += x * x;
        }
        log.expect(sums[r] == total, say("row_squares of", columns, "columns, row", r, "is",
                                         sums[r], "instead of", total));
      }
    }
  }
}

// The bits of row_squares, whatever rounds on the way: the same rows with their zeros left out.
template <class T> void check_sparse_row_squares(const Kernels<T> &k, Log &log) {
  Numbers numbers;
  for (const std::size_t columns : {std::size_t{1}, k.panel - 1, k.panel, 5 * k.panel + 3}) {
    const Panels at{k.panel, 9, columns};
    const auto dense = at.fill<T>([&](std::size_t r, std::size_t) {
      return r == 4 || numbers.bits() % 3 ? 0 : std::pow(10, numbers.uniform(-6, 6));
    });
    std::vector<std::size_t> begins, ends;
    std::vector<std::uint32_t> places;
    std::vector<T> values;
    for (std::size_t r = 0; r < at.rows; ++r) {
      begins.push_back(values.size());
      for (std::size_t c = 0; c < columns; ++c)
        if (dense[at.at(r, c)] != T(0)) {
          places.push_back(static_cast<std::uint32_t>(c));
          values.push_back(dense[at.at(r, c)]);
        }
      ends.push_back(values.size());
    }
    std::vector<double> one(at.rows, 1.0), two(at.rows, 1.0);
    k.row_squares({dense.data(), at.stride, columns, {0, at.rows}, one.data()});
    k.sparse_row_squares({{begins.data(), ends.data(), places.data(), values.data()},
                          columns,
                          {2, at.rows},
                          two.data()});
    for (std::size_t r = 0; r < at.rows; ++r)
      log.expect(two[r] == (r < 2 ? 1.0 : one[r]),
                 say("sparse_row_squares of", columns, "columns, row", r, "is", two[r],
                     "instead of", one[r]));
  }
}

// Any stretch of a stream holds the same numbers, and nothing beside it is written. (What numbers
// they are, tests/training/test_privacy.py says.)
template <class T> void check_noise(const Kernels<T> &k, Log &log) {
  const std::size_t n = 400;
  std::vector<T> all(n, T(0));
  const std::uint64_t base = std::uint64_t{1} << 35U;
  k.noise({all.data(), base, n, T(2), {1, 2}, {3, 4}});
  for (const std::size_t first : {0, 1, 63, 64, 128, 200})
    for (const std::size_t length : {0, 1, 2, 64, 127, 128, 130, 200}) {
      std::vector<T> part(length + 2, T(0));
      k.noise({part.data() + 1, base + first, length, T(2), {1, 2}, {3, 4}});
      bool same = part.front() == T(0) && part.back() == T(0);
      for (std::size_t i = 0; i < length; ++i)
        same = same && part[i + 1] == all[first + i] && part[i + 1] != T(0);
      log.expect(same, say("noise of", length, "values from", first, "differs"));
    }
}

template <class T> void check_peak(const Kernels<T> &k, Log &log) {
  for (const std::size_t rounds : {0, 1, 1000}) {
    const auto got = static_cast<double>(k.peak(rounds));
    log.expect(std::isfinite(got), say("peak of", rounds, "rounds is", got));
  }
  log.expect(k.peak_flop > 0, say("peak_flop is", k.peak_flop));
}

} // namespace

template <class T> void check_elementwise(const Kernels<T> &k, Log &log) {
  check_multiply_and_mask(k, log);
  check_update(k, log);
  check_update_at_the_ends(k, log);
  check_sum_of_squares(k, log);
  check_row_squares(k, log);
  check_sparse_row_squares(k, log);
  check_noise(k, log);
  check_peak(k, log);
}

template void check_elementwise(const Kernels<float> &, Log &);
template void check_elementwise(const Kernels<double> &, Log &);

} // namespace culpa::tests
