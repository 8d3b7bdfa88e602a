#include "network/network.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace culpa {

namespace {

constexpr std::size_t line = 16; // 64 bytes of float, 128 of double: one layout for both
constexpr std::size_t most = std::size_t{1} << 40U;

std::size_t reserve_array(std::size_t &end, std::size_t rows, std::size_t columns) {
  std::size_t size = 0;
  if (__builtin_mul_overflow(rows, columns, &size) || size > most || end > most)
    throw std::invalid_argument("a layer of " + std::to_string(rows) + " x " +
                                std::to_string(columns) +
                                " weights is larger than any machine's memory; use fewer units");
  const std::size_t begin = end;
  end = (begin + size + line - 1) / line * line;
  return begin;
}

} // namespace

Network make_network(std::vector<Layer> layers) {
  if (layers.empty())
    throw std::invalid_argument("a network needs at least one layer");
  Network network;
  std::size_t inputs = layers.front().inputs;
  for (Layer &layer : layers) {
    if (layer.inputs == 0 || layer.outputs == 0 || layer.inputs != inputs)
      throw std::invalid_argument("expected layers whose sizes are positive and fit each other");
    layer.weight = reserve_array(network.parameters, layer.inputs, layer.outputs);
    layer.bias = reserve_array(network.parameters, 1, layer.outputs);
    inputs = layer.outputs;
  }
  network.layers = std::move(layers);
  return network;
}

double Network::flops() const {
  double weights = 0;
  for (const Layer &layer : layers)
    weights += static_cast<double>(layer.inputs) * static_cast<double>(layer.outputs);
  const Layer &first = layers.front(); // its inputs get no error signal
  return 6 * weights - 2 * static_cast<double>(first.inputs) * static_cast<double>(first.outputs);
}

std::vector<ParameterArray> Network::arrays() const {
  std::vector<ParameterArray> all;
  all.reserve(2 * layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer &layer = layers[i];
    const std::string name = "dense_" + std::to_string(i);
    all.push_back(
        {name + ".weight", layer.weight, {layer.inputs, layer.outputs}, Layer::weight_decays});
    all.push_back({name + ".bias", layer.bias, {layer.outputs}, Layer::bias_decays});
  }
  return all;
}

} // namespace culpa
