// The weights: one flat vector that is the truth, and the copies in panels that the products read.
// Whoever changes the vector repacks the range; so the copies are never stale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "network/network.h"
#include "scalar.h"
#include "view.h"

namespace culpa {

template <class T> struct Parameters {
  explicit Parameters(const Network &network);

  // Refreshes the copies of weights [inputs) x [outputs) of a layer; both begin at a whole panel.
  void repack(const Layer &layer, std::size_t index, Range inputs, Range outputs);
  void repack_bias(const Layer &layer, std::size_t index);
  void repack_all(const Network &network);

  // The first layer's weights transposed, for those who ask about the inputs.
  Buffer<T> transposed_first(const Layer &first) const;

  Buffer<T> values;
  struct Copies {
    std::size_t forward, bias, backward; // offsets into `packed`
  };
  std::vector<Copies> copies;
  // The first layer has no backward copy: training never asks who is to blame in the inputs.
  static constexpr std::size_t none = ~std::size_t{0};
  Buffer<T> packed;
};

// What an optimizer is, without its moments and without the learning rate of a step.
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
template <class T>
kernels::UpdateRule<T> make_rule(const Optimizer &optimizer, double learning_rate,
                                 std::uint64_t step, double gradient_scale, double weight_sum);

} // namespace culpa
