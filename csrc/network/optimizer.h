// What an optimizer is, what it remembers, and the rule of one of its steps.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "network/network.h"
#include "scalar.h"

namespace culpa {

// Without its moments and without the learning rate of a step.
struct Optimizer {
  Rule rule = Rule::adam;
  double beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, momentum = 0, weight_decay = 0;
  bool nesterov = false;
  bool decoupled = false;         // weight decay beside the gradient: AdamW
  bool decay_per_example = false; // weight decay is divided by the batch's sum of weights
  // scikit-learn's conventions.
  bool epsilon_outside = false; // Adam: of its bias correction
  bool velocity = false;        // SGD: momentum holds the step, learning rate included
  // What the gradient counts times, weight decay excluded: a loss that is scaled otherwise.
  double gradient_scale = 1;
  Power power_1{beta_1}, power_2{beta_2}; // for the bias corrections of Adam
};

// What an optimizer remembers.
template <class T> struct Moments {
  Buffer<T> first, second;
  std::uint64_t steps = 0;

  void reset(const Network &network, const Optimizer &optimizer);
};

// The rule of one step, its constants worked out in float64.
template <class T> struct StepRule {
  kernels::UpdateRule<T> rule;
  double rate, shrinkage; // of the rule, before they are rounded

  // For one array: its share of the learning rate, and decay where that applies.
  kernels::UpdateRule<T> of(const Array &array) const {
    kernels::UpdateRule<T> own = rule;
    own.rate = static_cast<T>(rate * array.learning_rate_factor);
    own.shrink = array.decays ? static_cast<T>(1 - shrinkage * array.learning_rate_factor) : T(1);
    own.l2 = array.decays ? rule.l2 : T(0);
    return own;
  }
};
template <class T>
StepRule<T> make_rule(const Optimizer &optimizer, double learning_rate, std::uint64_t step,
                      double gradient_scale, double weight_sum);

} // namespace culpa
