#include "answers/attribution/attribution.h"

#include <algorithm>

namespace culpa {

using kernels::active;

template <class T>
AttributeSpace<T>::AttributeSpace(const Network &network, const AttributeJob &job,
                                  const Portion &portion, bool wants_nodes)
    : path(network, portion.rows(), 1, false,
           wants_nodes || job.method == Method::deeplift || job.method == Method::lrp),
      height(portion.height) {
  const std::size_t pairs = portion.pairs();
  const bool set = job.background.data != nullptr;
  const bool walks = job.method == Method::path || job.method == Method::expected;
  const bool smooth = job.method == Method::smooth;
  const bool own_baseline = job.baseline.data && job.baseline.row_stride != 0;
  const std::size_t based = job.method == Method::expected ? pairs
                            : set                          ? portion.tile
                            : own_baseline                 ? height
                                                           : 1;
  if (job.method == Method::deeplift)
    end = std::make_unique<Workspace<T>>(network, height + based, 1, false, true);

  const auto panel = active<T>().panel;
  const std::size_t inputs = network.inputs(), outputs = network.layers.front().outputs;
  std::size_t widest = 0, units = 0; // of the hidden layers
  for (std::size_t l = 0; wants_nodes && l + 1 < network.layers.size(); ++l) {
    widest = std::max(widest, network.layers[l].outputs);
    units += network.layers[l].outputs;
  }
  struct Wanted {
    Matrix<T> *matrix;
    std::size_t columns, rows;
  };
  std::vector<Wanted> wanted = {{&gradient, inputs, pairs}};
  if (walks || smooth)
    wanted.push_back({&sum, outputs, pairs});
  if (walks)
    wanted.insert(wanted.end(),
                  {{&top, outputs, height}, {&start, outputs, pairs}, {&way, outputs, pairs}});
  if (wants_nodes)
    wanted.insert(wanted.end(),
                  {{&tangent[0], widest, portion.rows()}, {&tangent[1], widest, portion.rows()}});
  if (smooth)
    wanted.push_back({&x, inputs, height});
  else
    x = end ? end->hidden[0] : path.hidden[0];
  if (end)
    baselines = from_row(x, height);
  else
    wanted.push_back({&baselines, inputs, based});
  const auto stride = [&](std::size_t rows) { return (rows + (rows > 1 ? 1 : 0)) * panel; };
  std::size_t size = 0;
  for (const Wanted &one : wanted)
    size += panels(one.columns, panel) * stride(one.rows);
  storage = Buffer<T>(size);
  T *next = storage.data();
  for (const Wanted &one : wanted) {
    *one.matrix = {next, stride(one.rows), one.columns};
    next += panels(one.columns, panel) * stride(one.rows);
  }

  nodes = Buffer<double>(height * units);
  if (set)
    values = Buffer<double>(height * inputs);
  if (job.method == Method::expected) {
    streams.reserve(height);
    drawn = Buffer<std::int64_t>(pairs);
    points = Buffer<double>(pairs);
  }
  if (smooth) {
    noise = Buffer<T>(portion.together * inputs);
    deviation = Buffer<T>(inputs);
    for (std::size_t j = 0; j < inputs; ++j)
      deviation[j] = static_cast<T>(job.noise[j] * network.input_scale);
  }
}

template <class T>
void first_product(const Model<T> &model, Matrix<T> x, Matrix<T> z, std::size_t rows) {
  const Layer &layer = model.network.layers.front();
  const auto &copy = model.parameters.copies.front();
  const T *packed = model.parameters.packed.data();
  const auto &k = active<T>();
  k.product({.x = x.data,
             .x_stride = x.stride,
             .w = packed + copy.forward,
             .bias = packed + copy.bias,
             .y = z.data,
             .y_stride = z.stride,
             .inputs = layer.inputs,
             .outputs = layer.outputs},
            {0, rows}, {0, panels(layer.outputs, k.panel)});
}

template <class T> void forward_rest(const Model<T> &model, Workspace<T> &space, std::size_t rows) {
  const auto &k = active<T>();
  const std::vector<Layer> &layers = model.network.layers;
  const Matrix<T> h = space.hidden[1], slopes = space.slopes[0];
  if (layers[0].activation != Activation::identity || slopes.data)
    for (std::size_t p = 0; p < panels(h.columns, k.panel); ++p)
      k.activate(layers[0].activation, static_cast<T>(layers[0].alpha), h.data + p * h.stride,
                 slopes.data ? slopes.data + p * slopes.stride : nullptr, rows * k.panel);
  for (std::size_t l = 1; l < layers.size(); ++l)
    forward_layer<T>(model.parameters, layers[l], l, space.hidden[l], space.hidden[l + 1],
                     space.slopes[l].data, {0, rows}, {0, panels(layers[l].outputs, k.panel)},
                     nullptr);
}

template <class T> void forward_with_z(const Model<T> &model, Workspace<T> &space, Range rows) {
  const auto &k = active<T>();
  const T *packed = model.parameters.packed.data();
  const std::size_t begin = rows.begin * k.panel, n = (rows.end - rows.begin) * k.panel;
  for (std::size_t l = 0; l < model.network.layers.size(); ++l) {
    const Layer &layer = model.network.layers[l];
    const auto &copy = model.parameters.copies[l];
    const Matrix<T> x = space.hidden[l], h = space.hidden[l + 1], z = space.delta[l];
    const std::size_t across = panels(h.columns, k.panel);
    k.product({.x = x.data,
               .x_stride = x.stride,
               .w = packed + copy.forward,
               .bias = packed + copy.bias,
               .y = z.data,
               .y_stride = z.stride,
               .inputs = x.columns,
               .outputs = z.columns},
              rows, {0, across});
    for (std::size_t p = 0; p < across; ++p) {
      T *values = h.data + p * h.stride + begin;
      std::copy_n(z.data + p * z.stride + begin, n, values);
      k.activate(layer.activation, static_cast<T>(layer.alpha), values,
                 space.slopes[l].data + p * space.slopes[l].stride + begin, n);
    }
  }
}

template <class T>
void backward_rest(const Model<T> &model, Workspace<T> &space, std::size_t rows,
                   const std::int64_t *targets, std::size_t count) {
  const auto panel = active<T>().panel;
  const Matrix<T> delta = space.delta.back();
  for (std::size_t p = 0; p < panels(delta.columns, panel); ++p)
    std::fill_n(delta.data + p * delta.stride, rows * panel, T(0));
  for (std::size_t r = 0; r < rows; ++r) {
    const auto j = static_cast<std::size_t>(targets[r % count]);
    delta.data[j / panel * delta.stride + r * panel + j % panel] = T(1);
  }
  const ExamplesView none;
  backward(model.network, model.parameters, space, Block{none, {0, rows}, nullptr}, Crew{},
           Split::rows);
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template struct AttributeSpace<T>;                                                               \
  template void first_product(const Model<T> &, Matrix<T>, Matrix<T>, std::size_t);                \
  template void forward_rest(const Model<T> &, Workspace<T> &, std::size_t);                       \
  template void forward_with_z(const Model<T> &, Workspace<T> &, Range);                           \
  template void backward_rest(const Model<T> &, Workspace<T> &, std::size_t, const std::int64_t *, \
                              std::size_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
