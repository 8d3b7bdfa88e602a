// Integrated gradients (Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks"):
// (x - baseline) times the mean of df/dx on the straight path between the two. The first layer is
// linear along the path: its z is interpolated, and its error signals are summed before they go
// back to the inputs. So the widest layer costs two products and one back, whatever the steps.
#include "attribute.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

#include "walk.h"

namespace culpa {

using kernels::active;

namespace {

// Rows that one thread carries at a time: rows of x times steps of their paths. Wide networks take
// fewer, so that memory stays bounded. No choice here shows in the bits.
std::size_t rows_at_once(const Network &network, std::size_t item_size) {
  std::size_t width = 3 * network.inputs();
  for (const Layer &layer : network.layers)
    width += 3 * layer.outputs;
  return std::clamp<std::size_t>((std::size_t{8} << 20U) / (width * item_size), 16, 128);
}

// What one thread works in: `height` rows of x, and as many steps of their paths as fit.
template <class T> struct AttributeSpace {
  AttributeSpace(const Network &network, std::size_t height, std::size_t path_rows, bool rescale)
      : path(network, path_rows, 1, false, rescale),
        z(rescale ? path_rows * active<T>().panel : 0) {
    const std::size_t panel = active<T>().panel;
    const std::size_t stride = (height + (height > 1 ? 1 : 0)) * panel;
    const std::size_t inputs = network.inputs(), outputs = network.layers.front().outputs;
    const std::size_t down = panels(inputs, panel), across = panels(outputs, panel);
    storage = Buffer<T>((2 * down + 3 * across) * stride);
    T *end = storage.data();
    const auto matrix = [&](std::size_t columns) {
      T *begin = end;
      end += panels(columns, panel) * stride;
      return Matrix<T>{begin, stride, columns};
    };
    baseline = matrix(inputs);
    gradient = matrix(inputs);
    start = matrix(outputs);
    way = matrix(outputs);
    sum = matrix(outputs);
  }

  Workspace<T> path;    // hidden[0] holds x
  Buffer<T> z;          // rescale: one panel before the activation
  Buffer<T> storage;    // of the matrices below, (rows of x, columns)
  Matrix<T> baseline;   // one row where all have the same
  Matrix<T> gradient;   // df/dx, mean over the path, of the scaled inputs
  Matrix<T> start, way; // z of the first layer: at the baseline, and from there to x
  Matrix<T> sum;        // error signals of the first layer, weighted, over the path
};

template <class T>
void copy_rows(Matrix<T> from, Matrix<T> to, std::size_t rows, bool same = false) {
  const auto panel = active<T>().panel;
  for (std::size_t p = 0; p < panels(from.columns, panel); ++p)
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(from.data + p * from.stride + (same ? 0 : r * panel), panel,
                  to.data + p * to.stride + r * panel);
}

// z (rows, outputs) = x (rows, inputs) . weight + bias, of the first layer
template <class T>
void first_product(const Model<T> &model, Matrix<T> x, Matrix<T> z, std::size_t rows) {
  const Layer &layer = model.network.layers.front();
  const auto &copy = model.parameters.copies.front();
  const T *packed = model.parameters.packed.data();
  const auto &k = active<T>();
  k.product({x.data, x.stride, packed + copy.forward, packed + copy.bias, z.data, z.stride,
             layer.inputs, layer.outputs},
            {0, rows}, {0, panels(layer.outputs, k.panel)});
}

// From z of the first layer, in hidden[1], to the outputs.
template <class T> void forward_rest(const Model<T> &model, Workspace<T> &space, std::size_t rows) {
  const auto &k = active<T>();
  const std::vector<Layer> &layers = model.network.layers;
  const Matrix<T> h = space.hidden[1], slopes = space.slopes[0];
  if (layers[0].activation != Activation::identity)
    for (std::size_t p = 0; p < panels(h.columns, k.panel); ++p)
      k.activate(layers[0].activation, static_cast<T>(layers[0].alpha), h.data + p * h.stride,
                 slopes.data ? slopes.data + p * slopes.stride : nullptr, rows * k.panel);
  for (std::size_t l = 1; l < layers.size(); ++l)
    forward_layer<T>(model.parameters, layers[l], l, space.hidden[l], space.hidden[l + 1],
                     space.slopes[l].data, {0, rows}, {0, panels(layers[l].outputs, k.panel)},
                     nullptr);
}

// From outputs to delta[0] = df/dz of the first layer; row r asks about targets[r % count].
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
  const Examples none;
  backward(model.network, model.parameters, space, Block{none, {0, rows}, nullptr}, Crew{},
           Schedule::rows);
}

template <class T> T at(Matrix<T> matrix, std::size_t row, std::size_t column) {
  const auto panel = active<T>().panel;
  return matrix.data[column / panel * matrix.stride + row * panel + column % panel];
}

// A block's values from its gradients, and their sums.
template <class T>
void write_values(const Network &network, const AttributeJob &job, const AttributeSpace<T> &space,
                  Range rows, const AttributeOut<T> &out) {
  const auto panel = active<T>().panel;
  const Matrix<T> x = space.path.hidden[0], b = space.baseline, g = space.gradient;
  const auto scale = static_cast<T>(network.input_scale);
  for (std::size_t i = rows.begin; i < rows.end; ++i) {
    const std::size_t r = i - rows.begin, base_row = job.baseline.row_stride ? r : 0;
    T *to = out.values + i * g.columns;
    double sum = 0;
    for (std::size_t j = 0; j < g.columns; j += panel) {
      const std::size_t n = std::min(panel, g.columns - j), p = j / panel;
      const T *slope = g.data + p * g.stride + r * panel;
      const T *above = x.data + p * x.stride + r * panel;
      const T *below = b.data + p * b.stride + base_row * panel; // zeros without a baseline
      for (std::size_t c = 0; c < n; ++c)
        to[j + c] = slope[c] * (job.times_inputs ? above[c] - below[c] : scale);
      for (std::size_t c = 0; c < n; ++c)
        sum += static_cast<double>(to[j + c]);
    }
    out.sums[i] = sum;
  }
}

// Sums the error signals of the first layer over the path, for `count` rows of x.
template <class T, class Poll>
void walk_path(const Model<T> &model, const AttributeJob &job, AttributeSpace<T> &space,
               std::size_t count, const std::int64_t *targets, Poll poll) {
  const auto panel = active<T>().panel;
  const Matrix<T> z = space.path.hidden[1], delta = space.path.delta[0];
  const std::size_t across = panels(z.columns, panel), n = count * panel;
  const std::size_t together = space.path.rows / count; // steps
  for (std::size_t p = 0; p < across; ++p)
    std::fill_n(space.sum.data + p * space.sum.stride, n, T(0));
  for (std::size_t s = 0; s < job.steps && poll(); s += together) {
    const std::size_t steps = std::min(together, job.steps - s);
    for (std::size_t p = 0; p < across; ++p)
      for (std::size_t i = 0; i < steps; ++i) {
        const T *start = space.start.data + p * space.start.stride;
        const T *way = space.way.data + p * space.way.stride;
        const auto point = static_cast<T>(job.points[s + i]);
        T *to = z.data + p * z.stride + i * n;
        for (std::size_t j = 0; j < n; ++j)
          to[j] = start[j] + point * way[j];
      }
    forward_rest(model, space.path, steps * count);
    backward_rest(model, space.path, steps * count, targets, count);
    for (std::size_t p = 0; p < across; ++p)
      for (std::size_t i = 0; i < steps; ++i) {
        const T *from = delta.data + p * delta.stride + i * n;
        T *sum = space.sum.data + p * space.sum.stride;
        const auto weight = static_cast<T>(job.weights[s + i]);
        for (std::size_t j = 0; j < n; ++j)
          sum[j] += weight * from[j];
      }
  }
}

// Notes which output each row asks about, and f(x).
template <class T>
void choose_targets(const AttributeJob &job, Matrix<T> outputs, Range rows,
                    const AttributeOut<T> &out) {
  for (std::size_t i = rows.begin; i < rows.end; ++i) {
    const std::size_t r = i - rows.begin;
    std::size_t target = 0;
    if (job.targets) { // another thread may have changed it since it was checked
      const auto asked = static_cast<std::size_t>(job.targets[i]);
      target = asked < outputs.columns ? asked : 0;
    } else
      for (std::size_t j = 1; j < outputs.columns; ++j)
        target = at(outputs, r, j) > at(outputs, r, target) ? j : target;
    out.targets[i] = static_cast<std::int64_t>(target);
    out.outputs[i] = at(outputs, r, target);
  }
}

// f(baseline), from outputs whose rows begin at first_row.
template <class T>
void note_baseline(Matrix<T> outputs, std::size_t first_row, bool same, Range rows,
                   const AttributeOut<T> &out) {
  for (std::size_t i = rows.begin; i < rows.end; ++i)
    out.baseline_outputs[i] = at(outputs, first_row + (same ? 0 : i - rows.begin),
                                 static_cast<std::size_t>(out.targets[i]));
}

// DeepLIFT (Shrikumar, Greenside & Kundaje 2017), the rescale rule: rows of x and then
// of their baselines, from z of the first layer to the outputs; what becomes of x's slopes dh/dz is
// the quotient of the differences from the baseline. Where z hardly differs, the slope stays: its
// error falls with the difference while that of the quotient grows, and both are about
// sqrt(epsilon) where they meet. No kink at 0 lies between two z that near each other.
template <class T>
void forward_rescale(const Model<T> &model, AttributeSpace<T> &space, std::size_t count) {
  const auto &k = active<T>();
  const std::vector<Layer> &layers = model.network.layers;
  const T *packed = model.parameters.packed.data();
  const std::size_t n = count * k.panel;
  const T near = std::sqrt(std::numeric_limits<T>::epsilon());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Matrix<T> x = space.path.hidden[l], h = space.path.hidden[l + 1];
    const std::size_t across = panels(h.columns, k.panel);
    if (l > 0)
      k.product({x.data, x.stride, packed + model.parameters.copies[l].forward,
                 packed + model.parameters.copies[l].bias, h.data, h.stride, x.columns, h.columns},
                {0, 2 * count}, {0, across});
    for (std::size_t p = 0; p < across; ++p) {
      T *values = h.data + p * h.stride, *z = space.z.data();
      T *slopes = space.path.slopes[l].data + p * space.path.slopes[l].stride;
      std::copy_n(values, 2 * n, z);
      k.activate(layers[l].activation, static_cast<T>(layers[l].alpha), values, slopes, 2 * n);
      if (layers[l].activation == Activation::identity)
        continue;
      for (std::size_t j = 0; j < n; ++j) {
        const T difference = z[j] - z[n + j];
        if (std::abs(difference) > near * std::max(std::abs(z[j]), std::abs(z[n + j])))
          slopes[j] = (values[j] - values[n + j]) / difference;
      }
    }
  }
}

template <class T, class Poll>
AttributeResult attribute_block(const Model<T> &model, const AttributeJob &job, Range rows,
                                const T *first_weights, AttributeSpace<T> &space,
                                const AttributeOut<T> &out, Poll poll) {
  const Network &network = model.network;
  const auto &k = active<T>();
  const std::size_t count = rows.end - rows.begin;
  const auto scale = static_cast<T>(network.input_scale);
  Workspace<T> &path = space.path;
  AttributeResult bad;
  bad.x_row = gather(job.x, Examples{job.x, {}}, rows, rows.begin, scale, path.hidden[0],
                     path.row_buffers[0]);
  const bool same = job.baseline.row_stride == 0; // one baseline for all
  if (job.baseline.data) {
    const Range its_rows = same ? Range{0, 1} : rows;
    bad.baseline_row = gather(job.baseline, Examples{job.baseline, {}}, its_rows, its_rows.begin,
                              scale, space.baseline, path.row_buffers[0]);
  }
  if (bad.x_row != no_row || bad.baseline_row != no_row)
    return bad;

  const Matrix<T> z = path.hidden[1], outputs = path.hidden.back();
  const std::int64_t *targets = out.targets + rows.begin;
  const std::size_t base_count = same ? 1 : count;
  Matrix<T> delta = path.delta[0];
  first_product(model, path.hidden[0], z, count);
  if (!job.baseline.data) {
    forward_rest(model, path, count);
    choose_targets(job, outputs, rows, out);
    backward_rest(model, path, count, targets, count);
  } else if (job.rescale) {
    first_product(model, space.baseline, space.start, base_count);
    copy_rows(space.start, {z.data + count * k.panel, z.stride, z.columns}, count, same);
    forward_rescale(model, space, count);
    choose_targets(job, outputs, rows, out);
    note_baseline(outputs, count, false, rows, out);
    backward_rest(model, path, count, targets, count);
  } else {
    copy_rows(z, space.way, count);
    forward_rest(model, path, count);
    choose_targets(job, outputs, rows, out);
    first_product(model, space.baseline, z, base_count);
    copy_rows(z, space.start, count, same);
    forward_rest(model, path, base_count);
    note_baseline(outputs, 0, same, rows, out);
    for (std::size_t p = 0; p < panels(z.columns, k.panel); ++p)
      for (std::size_t j = 0; j < count * k.panel; ++j)
        space.way.data[p * space.way.stride + j] -= space.start.data[p * space.start.stride + j];
    walk_path(model, job, space, count, targets, poll);
    delta = space.sum;
  }
  // gradient (rows, inputs) = delta (rows, outputs) . weight^T
  k.product({delta.data, delta.stride, first_weights, nullptr, space.gradient.data,
             space.gradient.stride, delta.columns, network.inputs()},
            {0, count}, {0, panels(network.inputs(), k.panel)});
  write_values(network, job, space, rows, out);
  return bad;
}

} // namespace

template <class T>
AttributeResult attribute(const Model<T> &model, const AttributeJob &job,
                          const AttributeOut<T> &out, std::size_t threads, Interrupt interrupt) {
  const Network &network = model.network;
  const std::size_t rows = job.x.rows, most = rows_at_once(network, sizeof(T));
  if (rows == 0)
    return {};
  // Two blocks or more for each thread, and the steps of a path side by side where rows are few.
  const std::size_t least = (rows + 2 * threads - 1) / (2 * threads);
  const std::size_t height = std::clamp<std::size_t>(least, 1, job.rescale ? most / 2 : most);
  const bool walks = job.baseline.data && !job.rescale;
  const std::size_t steps = walks ? std::max<std::size_t>(job.steps, 1) : job.rescale ? 2 : 1;
  const std::size_t path_rows = height * std::min(steps, most / height);
  const std::size_t blocks = (rows + height - 1) / height;
  Plan plan;
  if (blocks > 1) // a step costs about three guesses: forward, back, and what lies between
    plan = make_plan(network, rows * 3 * steps, Walk::predict, std::min(threads, blocks));

  const Buffer<T> first_weights = model.parameters.transposed_first(network.layers.front());
  std::vector<AttributeSpace<T>> spaces;
  spaces.reserve(plan.threads);
  for (std::size_t i = 0; i < plan.threads; ++i)
    spaces.emplace_back(network, height, path_rows, job.rescale);

  std::atomic<std::size_t> next{0}, bad_x{no_row}, bad_baseline{no_row};
  std::atomic<bool> stop{false};
  run(plan.threads, [&](const Crew &crew) {
    auto polled = std::chrono::steady_clock::now();
    const auto poll = [&] { // whether to go on
      const auto now = std::chrono::steady_clock::now();
      if (crew.index == 0 && interrupt.requested && now - polled > std::chrono::milliseconds(50)) {
        polled = now;
        if (interrupt.requested(interrupt.context))
          stop.store(true);
      }
      return !stop.load();
    };
    for (std::size_t i = 0; (i = next.fetch_add(1)) < blocks && poll();) {
      const Range mine{i * height, std::min((i + 1) * height, rows)};
      const AttributeResult bad =
          attribute_block(model, job, mine, first_weights.data(), spaces[crew.index], out, poll);
      report(bad_x, bad.x_row);
      report(bad_baseline, bad.baseline_row);
    }
  });
  return {bad_x.load(), bad_baseline.load()};
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template AttributeResult attribute(const Model<T> &, const AttributeJob &,                       \
                                     const AttributeOut<T> &, std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
