#include "stages/judge.h"

#include <cmath>

#include "scalar.h"

namespace culpa {

namespace {

struct Judged {
  double loss, guess;
};

// Where the target's variance is this power of its mean e^z.
Judged judge_log_mean(double power, double z, double t) {
  const double mean = exponential(z);
  if (power == 1)
    return {mean - z * t, mean};
  const double pull = t > 0 ? t * exponential((1 - power) * z) : 0;
  if (std::isinf(pull))
    return {pull, mean};
  if (power == 2)
    return {z + pull, mean};
  return {exponential((2 - power) * z) / (2 - power) + pull / (power - 1), mean};
}

// As in kernels/loss.inc, of one output z and its target t.
Judged judge(const LossFunction &loss, double z, double t) {
  const double d = z - t, a = std::abs(d);
  switch (loss.kind) {
  case Loss::mae:
    return {a, z};
  case Loss::huber:
    return {a > loss.delta ? (a - loss.delta * 0.5) * loss.delta : d * d * 0.5, z};
  case Loss::poisson:
    return judge_log_mean(1, z, t);
  case Loss::gamma:
    return judge_log_mean(2, z, t);
  case Loss::tweedie:
    return judge_log_mean(loss.power, z, t);
  case Loss::quantile:
    return {d < 0 ? -d * loss.q : d * (1 - loss.q), z};
  default: // classes have no targets that could be rounded away
    return {d * d, z};
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
      const Judged judged = judge(network.loss, z, target[k]);
      loss += judged.loss;
      if (examples.score_scale) {
        const auto guess = static_cast<T>(judged.guess); // as the model's dtype has it
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
