#include "network/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace culpa {

template <class T> void Moments<T>::reset(const Network &network, const Optimizer &optimizer) {
  const auto length = [&](Keeps slot) {
    const bool kept =
        slot == Keeps::always || (slot == Keeps::with_momentum && optimizer.momentum != 0);
    return kept ? network.parameters : 0;
  };
  for (const RuleDeclaration &declared : rules)
    if (declared.value == optimizer.rule) {
      first = Buffer<T>(length(declared.first));
      second = Buffer<T>(length(declared.second));
    }
  steps = 0;
}

template <class T>
StepRule<T> make_rule(const Optimizer &o, double learning_rate, std::uint64_t step,
                      double gradient_scale, double weight_sum) {
  double rate = learning_rate, variance_scale = 1;
  if (o.rule == Rule::adam) {
    const auto t = static_cast<double>(step);
    const double correction_1 = 1 - o.power_1(t);
    const double correction_2 = 1 - o.power_2(t);
    rate /= correction_1;
    if (o.epsilon_outside) // Kingma and Ba's section 2, last paragraph: epsilon hat
      rate *= std::sqrt(correction_2);
    else
      variance_scale = 1 / std::sqrt(correction_2);
  }
  using Limits = std::numeric_limits<T>;
  const double most = Limits::max(), least = Limits::min(); // infinity times 0 is not a number
  const bool shared = o.decay_per_example && o.weight_decay > 0;
  const double decay = std::min(shared ? o.weight_decay / weight_sum : o.weight_decay, most);
  const double shrinkage = o.decoupled ? learning_rate * decay : 0;
  return {.rule = {.rule = o.rule,
                   .gradient_scale = static_cast<T>(gradient_scale * o.gradient_scale),
                   .l2 = static_cast<T>(o.decoupled ? 0 : decay),
                   .shrink = static_cast<T>(1 - shrinkage),
                   .rate = static_cast<T>(rate),
                   .beta_1 = static_cast<T>(o.beta_1),
                   .beta_2 = static_cast<T>(o.beta_2),
                   .rest_1 = static_cast<T>(1 - o.beta_1),
                   .rest_2 = static_cast<T>(1 - o.beta_2),
                   .variance_scale = static_cast<T>(variance_scale),
                   .epsilon = static_cast<T>(std::max(o.epsilon, least)),
                   .momentum = static_cast<T>(o.momentum),
                   .nesterov = o.nesterov,
                   .velocity = o.velocity},
          .rate = rate,
          .shrinkage = shrinkage};
}

template struct Moments<float>;
template struct Moments<double>;
template StepRule<float> make_rule(const Optimizer &, double, std::uint64_t, double, double);
template StepRule<double> make_rule(const Optimizer &, double, std::uint64_t, double, double);

} // namespace culpa
