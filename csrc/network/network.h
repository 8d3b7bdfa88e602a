// A network is shapes only: what its layers are, and where each array lies in the one flat
// parameter vector. Every array begins on a cache line; the gaps hold zeros, and so do their
// gradients.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace culpa {

// h = dropout(activation(x . weight + bias))
struct Layer {
  std::size_t inputs = 0, outputs = 0;
  Activation activation = Activation::identity;
  double alpha = 0;                 // leaky_relu's slope, elu's scale
  double dropout = 0;               // of this layer's outputs, while training
  std::size_t weight = 0, bias = 0; // offsets into the parameters

  static constexpr bool weight_decays = true, bias_decays = false; // whether weight decay applies
};

// One of the arrays that the parameters consist of, as files and callers of the core know it.
struct ParameterArray {
  std::string name; // "dense_0.weight"
  std::size_t offset;
  std::vector<std::size_t> shape; // (inputs, outputs) of a weight, (outputs) of a bias
  bool decays;
};

struct Network {
  std::vector<Layer> layers;
  double input_scale = 1;
  double input_dropout = 0;
  LossFunction loss;
  std::size_t parameters = 0; // length of the flat vector

  std::size_t inputs() const { return layers.front().inputs; }
  std::size_t outputs() const { return layers.back().outputs; }
  // Floating-point operations of one training step, per example: a multiplication and an addition
  // per weight, forward, for the gradient and, but for the first layer, backward.
  double flops() const;
  // In the order in which they lie in the flat vector.
  std::vector<ParameterArray> arrays() const;
};

// Lays out the parameters. Throws std::invalid_argument where a size is zero, does not fit its
// neighbour, or overflows.
Network make_network(std::vector<Layer> layers);

} // namespace culpa
