// Blame: the same rows, walking back. delta[l] = dL_i/dz of layer l, for each example on its own.
#include "stages/walk.h"

namespace culpa {

using kernels::active;

namespace {

// delta, so far dL/dh, becomes dL/dz: times the slopes of the activation (and the dropout mask).
template <class T>
void through_activation(const Layer &layer, Matrix<T> hidden, Matrix<T> slopes, Matrix<T> delta,
                        Range rows, Range some_panels) {
  const auto &k = active<T>();
  const auto panel = k.panel;
  if (!slopes.data && layer.activation == Activation::identity)
    return;
  const std::size_t n = (rows.end - rows.begin) * panel;
  for (std::size_t p = some_panels.begin; p < some_panels.end; ++p) {
    const std::size_t at = p * delta.stride + rows.begin * panel;
    if (slopes.data)
      k.multiply(delta.data + at, slopes.data + at, n);
    else
      k.mask_positive(delta.data + at, hidden.data + at, n);
  }
}

} // namespace

template <class T>
void backward(const Network &network, const Parameters<T> &parameters, Workspace<T> &space,
              const Block &block, const Crew &crew, Split split, const Matrix<T> *input_delta,
              const T *first_weights) {
  const auto &k = active<T>();
  const auto panel = k.panel;
  const bool by_rows = split == Split::rows;
  const Range all{0, block.rows()};
  const Range mine = crew.share(all);
  const Range rows = by_rows ? mine : all;

  const std::size_t last = network.layers.size() - 1;
  through_activation(network.layers[last], space.hidden[last + 1], space.slopes[last],
                     space.delta[last], mine, {0, panels(network.outputs(), panel)});
  for (std::size_t l = last; l > 0 || input_delta; --l) {
    const Layer &layer = network.layers[l];
    const Range all_panels{0, panels(layer.inputs, panel)};
    const Range columns = by_rows ? all_panels : crew.share(all_panels);
    const Matrix<T> delta = space.delta[l];
    const Matrix<T> below = l > 0 ? space.delta[l - 1] : *input_delta;
    const T *weights =
        l > 0 ? parameters.packed.data() + parameters.copies[l].backward : first_weights;
    if (!by_rows)
      crew.wait();
    const bool masked = l > 0 && network.layers[l - 1].activation == Activation::relu &&
                        !space.slopes[l - 1].data; // relu's slope, while the tile is in registers
    // below (rows, inputs) = delta (rows, outputs) . weight^T
    by_stretches(crew, rows, [&](Range some) {
      k.product({.x = delta.data,
                 .x_stride = delta.stride,
                 .w = weights,
                 .bias = nullptr,
                 .y = below.data,
                 .y_stride = below.stride,
                 .inputs = layer.outputs,
                 .outputs = layer.inputs,
                 .end = masked ? kernels::End::masked : kernels::End::plain,
                 .mask = space.hidden[l].data},
                some, columns);
      if (l > 0 && !masked)
        through_activation(network.layers[l - 1], space.hidden[l], space.slopes[l - 1], below, some,
                           columns);
    });
    if (l == 0)
      break;
  }
}

template <class T> void scale_row(const Workspace<T> &space, std::size_t row, T factor) {
  const auto panel = active<T>().panel;
  for (const Matrix<T> &delta : space.delta)
    for (std::size_t p = 0; p < panels(delta.columns, panel); ++p) {
      T *values = delta.data + p * delta.stride + row * panel;
      for (std::size_t i = 0; i < panel; ++i)
        values[i] *= factor;
    }
}

template <class T>
void weigh_examples(Workspace<T> &space, const Block &block, const BatchWeights &sample_weights,
                    const Crew &crew) {
  if (!block.examples.sample_weights)
    return;
  const Range mine = crew.share({0, block.rows()});
  for (std::size_t r = mine.begin; r < mine.end; ++r) {
    const double given = block.examples.sample_weight(block.positions.begin + r);
    const auto weight = static_cast<T>(sample_weights.shifted(given));
    if (weight != T(1))
      scale_row(space, r, weight);
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void backward(const Network &, const Parameters<T> &, Workspace<T> &, const Block &,    \
                         const Crew &, Split, const Matrix<T> *, const T *);                       \
  template void scale_row(const Workspace<T> &, std::size_t, T);                                   \
  template void weigh_examples(Workspace<T> &, const Block &, const BatchWeights &, const Crew &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
