// Fix: the gradient of the weights, summed over the batch unit by unit, and the optimizer.
#include "walk.h"

namespace culpa {

using kernels::active;

template <class T>
void sum_gradient(const Network &network, Workspace<T> &space, std::size_t rows, const Unit &unit,
                  bool accumulate, const kernels::Ahead &ahead) {
  const auto &k = active<T>();
  const auto panel = k.panel;
  const Layer &layer = network.layers[unit.layer];
  const Matrix<T> delta = space.delta[unit.layer];
  const Range inputs = unit.inputs;
  if (inputs.begin == inputs.end)
    return k.column_sums(delta.data, delta.stride, rows, layer.outputs,
                         space.gradient.data() + layer.bias, accumulate);
  const Matrix<T> x = space.hidden[unit.layer];
  k.outer({x.data + inputs.begin / panel * x.stride, delta.data, delta.stride, rows,
           space.gradient.data() + layer.weight + inputs.begin * layer.outputs, layer.outputs,
           inputs.end - inputs.begin, unit.outputs, accumulate, ahead});
}

template <class T>
void update_unit(const Network &network, Parameters<T> &parameters, const T *gradient,
                 Moments<T> &moments, const kernels::UpdateRule<T> &rule, const Unit &unit) {
  const Layer &layer = network.layers[unit.layer];
  const bool bias = unit.inputs.begin == unit.inputs.end;
  kernels::UpdateRule<T> own = rule;
  if (bias) { // decay is for weights
    own.l2 = T(0);
    own.shrink = T(1);
  }
  const auto at = [](Buffer<T> &buffer, std::size_t offset) {
    return buffer.size() ? buffer.data() + offset : nullptr;
  };
  stretches(network, unit, [&](std::size_t offset, std::size_t length) {
    active<T>().update(own, parameters.values.data() + offset, gradient + offset,
                       at(moments.first, offset), at(moments.second, offset), length);
  });
  if (bias)
    parameters.repack_bias(layer, unit.layer);
  else
    parameters.repack(layer, unit.layer, unit.inputs, unit.outputs);
}

template <class T> double unit_squares(const Network &network, const T *values, const Unit &unit) {
  double total = 0;
  stretches(network, unit, [&](std::size_t offset, std::size_t length) {
    total += active<T>().sum_of_squares(values + offset, length);
  });
  return total;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void sum_gradient(const Network &, Workspace<T> &, std::size_t, const Unit &, bool,     \
                             const kernels::Ahead &);                                              \
  template void update_unit(const Network &, Parameters<T> &, const T *, Moments<T> &,             \
                            const kernels::UpdateRule<T> &, const Unit &);                         \
  template double unit_squares(const Network &, const T *, const Unit &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
