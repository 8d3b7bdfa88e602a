// activate, of every activation.
#include <algorithm>

#include "check.h"

namespace culpa::tests {
namespace {

double sigmoid(double z) {
  return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}
double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }
double density(double z) { return std::exp(-z * z / 2) * 0.39894228040143267794; }
double distribution(double z) { return std::erfc(-z * 0.70710678118654752440) / 2; }
double sech_squared(double z) {
  const double e = std::exp(-std::abs(z));
  return 4 * e * e / ((1 + e * e) * (1 + e * e));
}
double gelu_inner(double z) { return 0.79788456080286535588 * (z + 0.044715 * z * z * z); }
double gelu_inner_slope(double z) { return 0.79788456080286535588 * (1 + 0.134145 * z * z); }

using Function = double (*)(double z, double alpha);

// Bounds in units of the last place: of the value, and of the slope's greatest term, which is not
// above |z| or 1. gelu's tail has e^(-z^2 / 2), which magnifies what the rounding of z^2 lost;
// gelu_tanh's tail is a difference, so its value is bounded like a slope (`cancels`).
struct ActivationCase {
  Activation kind;
  const char *name;
  double alpha, value_ulps, slope_ulps;
  Function value, slope;
  bool cancels = false;
};

const double selu_scale = 1.0507009873554804934, selu_alpha = 1.6732632423543772848;

// clang-format off: a function to a line
const ActivationCase activations[] = {
    {Activation::identity, "identity", 0, 0, 0,
     [](double z, double) { return z; },
     [](double, double) { return 1.0; }},
    {Activation::relu, "relu", 0, 0, 0,
     [](double z, double) { return z < 0 ? 0 : z; },
     [](double z, double) { return z > 0 ? 1.0 : 0.0; }},
    {Activation::leaky_relu, "leaky_relu", 0.125, 0, 0,
     [](double z, double alpha) { return z > 0 ? z : alpha * z; },
     [](double z, double alpha) { return z > 0 ? 1 : alpha; }},
    {Activation::elu, "elu", 0.75, 4, 4,
     [](double z, double alpha) { return z > 0 ? z : alpha * std::expm1(z); },
     [](double z, double alpha) { return z > 0 ? 1 : alpha * std::exp(z); }},
    {Activation::selu, "selu", 0, 4, 4,
     [](double z, double) { return selu_scale * (z > 0 ? z : selu_alpha * std::expm1(z)); },
     [](double z, double) { return selu_scale * (z > 0 ? 1 : selu_alpha * std::exp(z)); }},
    {Activation::gelu, "gelu", 0, 150, 4,
     [](double z, double) { return z * distribution(z); },
     [](double z, double) { return distribution(z) + z * density(z); }},
    {Activation::gelu_tanh, "gelu_tanh", 0, 4, 6,
     [](double z, double) { return z * sigmoid(2 * gelu_inner(z)); },
     [](double z, double) {
       return sigmoid(2 * gelu_inner(z)) +
              z / 2 * sech_squared(gelu_inner(z)) * gelu_inner_slope(z);
     }, true},
    {Activation::silu, "silu", 0, 4, 4,
     [](double z, double) { return z * sigmoid(z); },
     [](double z, double) { return sigmoid(z) * (1 + z * sigmoid(-z)); }},
    {Activation::mish, "mish", 0, 4, 4,
     [](double z, double) { return z * std::tanh(softplus(z)); },
     [](double z, double) {
       return std::tanh(softplus(z)) + z * sigmoid(z) * sech_squared(softplus(z));
     }},
    {Activation::tanh, "tanh", 0, 2, 2,
     [](double z, double) { return std::tanh(z); },
     [](double z, double) { return sech_squared(z); }},
    {Activation::sigmoid, "sigmoid", 0, 4, 4,
     [](double z, double) { return sigmoid(z); },
     [](double z, double) { return sigmoid(z) * sigmoid(-z); }},
    {Activation::softplus, "softplus", 0, 4, 4,
     [](double z, double) { return softplus(z); },
     [](double z, double) { return sigmoid(z); }},
};
// clang-format on

template <class T> std::vector<T> arguments(std::size_t lanes) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<T> z;
  for (const double special : {0.0, -0.0, nan, 1e-30, 1e-8, 1e-3, 20.0, 50.0, 100.0, 1e4, 1e30})
    for (const double sign : {1.0, -1.0})
      z.push_back(static_cast<T>(sign * special));
  for (int i = -1200; i <= 1200; ++i)
    z.push_back(static_cast<T>(0.01 * i));
  while (z.size() % lanes)
    z.push_back(T(0.25));
  return z;
}

} // namespace

template <class T> void check_activations(const Kernels<T> &k, Log &log) {
  const std::size_t lanes = k.panel / 2;
  const auto all = arguments<T>(lanes);
  const double least = std::numeric_limits<T>::min(); // below it digits are lost
  for (const ActivationCase &a : activations)
    for (const bool with_slopes : {false, true})
      for (const std::size_t n : {std::size_t{0}, lanes, all.size()}) {
        Output<T> values(n), slopes(n);
        for (std::size_t i = 0; i < n; ++i) {
          const auto z = static_cast<double>(all[i]);
          const double value = a.value(z, a.alpha), slope = a.slope(z, a.alpha);
          const double term = std::max(1.0, std::abs(z));
          const double size = a.cancels ? term : std::abs(value);
          values.put(i, all[i]);
          values.want(i, value, a.value_ulps * ulp<T> * size + 4 * least);
          if (with_slopes && std::isnan(z))
            slopes.ignore(i);
          else if (with_slopes)
            slopes.want(i, slope, a.slope_ulps * ulp<T> * term);
        }
        k.activate(a.kind, static_cast<T>(a.alpha), values.data(),
                   with_slopes ? slopes.data() : nullptr, n);
        values.check(log, say("activate", a.name, "of", n, "values, with slopes", with_slopes));
        slopes.check(log, say("slopes of activate", a.name, "of", n, "values"));
      }
}

template void check_activations(const Kernels<float> &, Log &);
template void check_activations(const Kernels<double> &, Log &);

} // namespace culpa::tests
