#include "network/parameters.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace culpa {

template <class T> Parameters<T>::Parameters(const Network &network) : values(network.parameters) {
  const auto panel = kernels::active<T>().panel;
  std::size_t end = 0;
  for (const Layer &layer : network.layers) {
    const std::size_t across = panels(layer.outputs, panel) * panel;
    Copies copy{end, end + layer.inputs * across, none};
    end = copy.bias + across;
    if (!copies.empty()) {
      copy.backward = end;
      end += layer.outputs * panels(layer.inputs, panel) * panel;
    }
    copies.push_back(copy);
  }
  packed = Buffer<T>(end);
}

template <class T>
void Parameters<T>::repack(const Layer &layer, std::size_t index, Range inputs, Range outputs) {
  const Copies &copy = copies[index];
  kernels::active<T>().pack(
      {.w = values.data() + layer.weight,
       .n_inputs = layer.inputs,
       .n_outputs = layer.outputs,
       .inputs = inputs,
       .outputs = outputs,
       .forward = packed.data() + copy.forward,
       .backward = copy.backward == none ? nullptr : packed.data() + copy.backward});
}

template <class T> void Parameters<T>::repack_bias(const Layer &layer, std::size_t index) {
  std::copy_n(values.data() + layer.bias, layer.outputs, packed.data() + copies[index].bias);
}

template <class T> void Parameters<T>::repack_all(const Network &network) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer &layer = network.layers[i];
    repack(layer, i, {0, layer.inputs}, {0, layer.outputs});
    repack_bias(layer, i);
  }
}

template <class T> Buffer<T> Parameters<T>::transposed_first(const Layer &first) const {
  const auto &k = kernels::active<T>();
  Buffer<T> backward(first.outputs * panels(first.inputs, k.panel) * k.panel);
  k.pack({.w = values.data() + first.weight,
          .n_inputs = first.inputs,
          .n_outputs = first.outputs,
          .inputs = {0, first.inputs},
          .outputs = {0, first.outputs},
          .forward = nullptr,
          .backward = backward.data()});
  return backward;
}

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
kernels::UpdateRule<T> make_rule(const Optimizer &o, double learning_rate, std::uint64_t step,
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
  return {.rule = o.rule,
          .gradient_scale = static_cast<T>(gradient_scale * o.gradient_scale),
          .l2 = static_cast<T>(o.decoupled ? 0 : decay),
          .shrink = static_cast<T>(o.decoupled ? 1 - learning_rate * decay : 1),
          .rate = static_cast<T>(rate),
          .beta_1 = static_cast<T>(o.beta_1),
          .beta_2 = static_cast<T>(o.beta_2),
          .rest_1 = static_cast<T>(1 - o.beta_1),
          .rest_2 = static_cast<T>(1 - o.beta_2),
          .variance_scale = static_cast<T>(variance_scale),
          .epsilon = static_cast<T>(std::max(o.epsilon, least)),
          .momentum = static_cast<T>(o.momentum),
          .nesterov = o.nesterov,
          .velocity = o.velocity};
}

template struct Parameters<float>;
template struct Parameters<double>;
template struct Moments<float>;
template struct Moments<double>;
template kernels::UpdateRule<float> make_rule(const Optimizer &, double, std::uint64_t, double,
                                              double);
template kernels::UpdateRule<double> make_rule(const Optimizer &, double, std::uint64_t, double,
                                               double);

} // namespace culpa
