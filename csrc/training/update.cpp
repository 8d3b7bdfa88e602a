// Fix: the gradient of the weights, summed over the batch unit by unit, and the optimizer.
#include "stages/walk.h"

namespace culpa {

using kernels::active;

Place place_in_flat(const Network &network, const Unit &unit) {
  const Layer &layer = network.layers[unit.layer];
  const std::size_t rows = unit.inputs.end - unit.inputs.begin;
  if (rows == 0)
    return {layer.bias, 1, layer.outputs, layer.outputs};
  return {layer.weight + unit.inputs.begin * layer.outputs + unit.outputs.begin, rows,
          unit.outputs.end - unit.outputs.begin, layer.outputs};
}

Place place_in_piece(const Network &network, const Unit &unit) {
  Place place = place_in_flat(network, unit);
  place.offset = 0;
  place.stride = place.width;
  return place;
}

namespace {

// Rows without gaps between them, in both of two places, are one long row.
bool one_stretch(const Place &a, const Place &b) {
  return a.width == a.stride && b.width == b.stride;
}

} // namespace

template <class T>
void sum_gradient(const Workspace<T> &space, std::size_t rows, const Unit &unit, T *gradient,
                  const Place &place, bool accumulate) {
  const auto &k = active<T>();
  const Matrix<T> delta = space.delta[unit.layer];
  const Range inputs = unit.inputs;
  T *to = gradient + place.offset;
  if (inputs.begin == inputs.end)
    return k.column_sums(delta.data, delta.stride, rows, place.width, to, accumulate);
  if (unit.layer == 0 && space.sparse)
    return k.sparse_outer({.begins = space.entries.column_begins.data() + inputs.begin,
                           .rows = space.entries.rows.data(),
                           .values = space.entries.column_values.data(),
                           .d = delta.data,
                           .d_stride = delta.stride,
                           .g = to,
                           .g_width = place.stride,
                           .inputs = inputs.end - inputs.begin,
                           .outputs = unit.outputs,
                           .accumulate = accumulate});
  const Matrix<T> x = space.hidden[unit.layer];
  k.outer({.x = x.data + inputs.begin / k.panel * x.stride,
           .d = delta.data,
           .d_stride = delta.stride,
           .rows = rows,
           .g = to,
           .g_width = place.stride,
           .inputs = inputs.end - inputs.begin,
           .outputs = unit.outputs,
           .accumulate = accumulate});
}

// Tried: fetching parameters and moments into the second cache while the gradient is summed. It
// costs an mnist step 4 % more than it gains: the processor's own prefetching follows these
// streams.
template <class T>
void update_unit(const Network &network, Parameters<T> &parameters, const T *gradient,
                 const Place &place, Moments<T> &moments, const kernels::UpdateRule<T> &rule,
                 const Unit &unit) {
  const Layer &layer = network.layers[unit.layer];
  const bool bias = unit.inputs.begin == unit.inputs.end;
  kernels::UpdateRule<T> own = rule;
  if (!(bias ? Layer::bias_decays : Layer::weight_decays)) {
    own.l2 = T(0);
    own.shrink = T(1);
  }
  const auto at = [](Buffer<T> &buffer, std::size_t offset) {
    return buffer.size() ? buffer.data() + offset : nullptr;
  };
  const Place flat = place_in_flat(network, unit);
  const bool one = one_stretch(flat, place);
  const std::size_t length = one ? flat.rows * flat.width : flat.width;
  for (std::size_t i = 0; i < (one ? 1 : flat.rows); ++i) {
    const std::size_t offset = flat.offset + i * flat.stride;
    active<T>().update(own, parameters.values.data() + offset,
                       gradient + place.offset + i * place.stride, at(moments.first, offset),
                       at(moments.second, offset), length);
  }
  if (bias)
    parameters.repack_bias(layer, unit.layer);
  else
    parameters.repack(layer, unit.layer, unit.inputs, unit.outputs);
}

template <class T> double sum_of_squares(const T *values, const Place &place) {
  const bool one = one_stretch(place, place);
  double total = 0;
  for (std::size_t i = 0; i < (one ? 1 : place.rows); ++i)
    total += active<T>().sum_of_squares(values + place.offset + i * place.stride,
                                        one ? place.rows * place.width : place.width);
  return total;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void sum_gradient(const Workspace<T> &, std::size_t, const Unit &, T *, const Place &,  \
                             bool);                                                                \
  template void update_unit(const Network &, Parameters<T> &, const T *, const Place &,            \
                            Moments<T> &, const kernels::UpdateRule<T> &, const Unit &);           \
  template double sum_of_squares(const T *, const Place &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
