// Elementary functions that Python asks for, where they decide bits.
#include "scalar.h"

#include "bindings.h"

namespace culpa {

namespace {

using Numbers = py::array_t<double, py::array::c_style>;

template <class F> Numbers for_each(const Numbers &from, F f) {
  Numbers to(from.request().shape);
  const double *x = from.data();
  double *y = to.mutable_data();
  for (py::ssize_t i = 0; i < from.size(); ++i)
    y[i] = f(x[i]);
  return to;
}

} // namespace

void bind_scalar(py::module_ &m) {
  m.def(
      "power",
      [](double base, const Numbers &exponents) {
        if (!(base >= 0 && std::isfinite(base)))
          throw py::value_error("base: expected a finite number of at least 0");
        return for_each(exponents, Power(base));
      },
      "base"_a, "exponents"_a, "base ** exponents, the same bits on every platform.");
  m.def(
      "cosine_of_turns", [](const Numbers &turns) { return for_each(turns, cosine_of_turns); },
      "turns"_a, "cos(2 pi turns), the same bits on every platform.");
  m.def(
      "natural_log", [](const Numbers &x) { return for_each(x, natural_log); }, "x"_a,
      "log(x) of finite x > 0, for tests.");
  m.def(
      "natural_log_1p", [](const Numbers &x) { return for_each(x, natural_log_1p); }, "x"_a,
      "log(1 + x) of finite x > -1, for tests.");
  m.def(
      "exponential", [](const Numbers &x) { return for_each(x, exponential); }, "x"_a,
      "e ** x, for tests.");
}

} // namespace culpa
