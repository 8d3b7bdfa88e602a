#include "stages/judge.h"

#include <cmath>

#include "scalar.h"

namespace culpa {

namespace {

// As in kernels/loss.inc, of one output z and its target t.
double loss_of(Loss kind, double parameter, double z, double t) {
  const double d = z - t, a = std::abs(d);
  switch (kind) {
  case Loss::mae:
    return a;
  case Loss::huber:
    return a > parameter ? (a - parameter * 0.5) * parameter : d * d * 0.5;
  case Loss::poisson:
    return exponential(z) - z * t;
  case Loss::quantile:
    return d < 0 ? -d * parameter : d * (1 - parameter);
  default: // classes have no targets that could be rounded away
    return d * d;
  }
}

} // namespace

template <class T>
void judge_exactly(const Network &network, const ExamplesView &examples, std::size_t first,
                   Matrix<T> outputs, Range rows, double *losses, double *scores) {
  const std::size_t panel = kernels::active<T>().panel, count = network.outputs();
  for (std::size_t r = rows.begin; r < rows.end; ++r) {
    const double *target = examples.exact + examples.row(first + r) * count;
    double loss = 0, score = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const double z = outputs.data[k / panel * outputs.stride + r * panel + k % panel];
      loss += loss_of(network.loss, network.loss_parameter, z, target[k]);
      if (examples.score_scale) { // the guess is of the model's dtype
        const double guess = network.loss == Loss::poisson ? static_cast<T>(exponential(z)) : z;
        score += (guess - target[k]) * (guess - target[k]) * examples.score_scale[k];
      }
    }
    losses[r] = loss / static_cast<double>(count);
    if (examples.score_scale)
      scores[r] = score;
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void judge_exactly(const Network &, const ExamplesView &, std::size_t, Matrix<T>,       \
                              Range, double *, double *);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
