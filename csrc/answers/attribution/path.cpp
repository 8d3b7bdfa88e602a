// Integrated gradients (Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks"):
// (x - baseline) times the mean of df/dx on the straight path between the two. The entry moves
// straight, too: it is interpolated, and its error signals are summed before they go back to the
// inputs. So the widest layer costs two products and one back, whatever the steps.
//
// Conductance (Dhamdhere, Sundararajan & Yan 2018, "How important is a neuron?"): node j's share is
// the integral of df/dh_j dh_j/da over the path's points a, and df/dh_j dh_j/da = df/dz_j dz_j/da:
// the error signal times the tangent, which goes forward beside h: z' of the entry is the way
// itself, and h' = f'(z) z'.
#include <algorithm>

#include "answers/attribution/attribution.h"

namespace culpa {

using kernels::active;

template <class T>
void lay_paths(AttributeSpace<T> &space, const Baselines<T> &baselines, Matrix<T> z,
               std::size_t tile, std::size_t count) {
  const auto panel = active<T>().panel;
  for (std::size_t p = 0; p < panels(z.columns, panel); ++p)
    for (std::size_t t = 0; t < tile; ++t)
      for (std::size_t r = 0; r < count; ++r) {
        const std::size_t pair = (t * count + r) * panel;
        const T *below = z.data + p * z.stride + baselines.row(t, r) * panel;
        const T *above = space.top.data + p * space.top.stride + r * panel;
        T *start = space.start.data + p * space.start.stride + pair;
        T *way = space.way.data + p * space.way.stride + pair;
        for (std::size_t j = 0; j < panel; ++j) {
          start[j] = below[j];
          way[j] = above[j] - below[j];
        }
      }
}

namespace {

// Adds weight * delta * z' over each pair's points, node by node.
template <class T>
void add_layer(const double *weights, std::size_t steps, Matrix<T> delta, Matrix<T> tangent,
               std::size_t tile, std::size_t count, double *nodes, std::size_t width) {
  const auto panel = active<T>().panel;
  for (std::size_t j = 0; j < delta.columns; j += panel) {
    const std::size_t p = j / panel, n = std::min(panel, delta.columns - j);
    for (std::size_t t = 0; t < tile; ++t)
      for (std::size_t i = 0; i < steps; ++i)
        for (std::size_t r = 0; r < count; ++r) {
          const std::size_t row = ((i * tile + t) * count + r) * panel;
          const T *signal = delta.data + p * delta.stride + row;
          const T *way = tangent.data + p * tangent.stride + row;
          double *to = nodes + r * width + j;
          for (std::size_t c = 0; c < n; ++c)
            to[c] += weights[i] * static_cast<double>(signal[c] * way[c]);
        }
  }
}

// h' = f'(z) z', in place, for the first n values of each panel.
template <class T> void through_slopes(Matrix<T> slopes, Matrix<T> tangent, std::size_t n) {
  const auto &k = active<T>();
  for (std::size_t p = 0; p < panels(tangent.columns, k.panel); ++p)
    k.multiply(tangent.data + p * tangent.stride, slopes.data + p * slopes.stride, n);
}

// The tangent's walk, after that of the error signals.
template <class T>
void add_conductance(const Model<T> &model, const double *weights, std::size_t steps,
                     AttributeSpace<T> &space, std::size_t tile, std::size_t count) {
  const auto &k = active<T>();
  const Network &network = model.network;
  const Crew alone{};
  const Pass<T> pass{network, model.parameters, space.path, alone};
  const std::size_t pairs = tile * count, n = pairs * k.panel, rows = steps * pairs;
  const std::size_t width = space.nodes.size() / space.height;
  double *nodes = space.nodes.data();
  std::vector<Matrix<T>> &tangents = space.tangent->hidden;
  const Matrix<T> first = tangents[space.entry];
  for (std::size_t p = 0; p < panels(first.columns, k.panel); ++p)
    for (std::size_t i = 0; i < steps; ++i)
      std::copy_n(space.way.data + p * space.way.stride, n, first.data + p * first.stride + i * n);
  for (std::size_t s = space.entry ? space.entry - 1 : 0; s < network.dense.back(); ++s) {
    const Stage &stage = network.stages[s];
    const Matrix<T> dz = tangents[s + 1];
    if (s >= space.entry)
      stage_kind<T>(stage.kind)
          .tangent(pass, s, tangents[s], tangents[stage.skip], dz, {0, rows},
                   {0, panels(dz.columns, k.panel)});
    if (stage.kind == Kind::dense) {
      add_layer(weights, steps, space.path.delta[s], dz, tile, count, nodes, width);
      nodes += stage.outputs;
    }
    through_slopes(space.path.slopes[s], dz, rows * k.panel);
  }
}

} // namespace

template <class T>
void walk_paths(const Model<T> &model, const Points &points, AttributeSpace<T> &space,
                std::size_t tile, std::size_t count, const std::int64_t *targets,
                const Crew &crew) {
  const auto panel = active<T>().panel;
  const Matrix<T> z = space.entries(), delta = space.signals();
  const std::size_t pairs = tile * count, n = pairs * panel;
  const std::size_t across = panels(z.columns, panel);
  const std::size_t together = space.path.rows / pairs; // steps
  for (std::size_t p = 0; p < across; ++p)
    std::fill_n(space.sum.data + p * space.sum.stride, n, T(0));
  for (std::size_t s = 0; s < points.steps && crew.going(); s += together) {
    const std::size_t steps = std::min(together, points.steps - s);
    for (std::size_t p = 0; p < across; ++p)
      for (std::size_t i = 0; i < steps; ++i) {
        const T *start = space.start.data + p * space.start.stride;
        const T *way = space.way.data + p * space.way.stride;
        T *to = z.data + p * z.stride + i * n;
        if (points.own)
          for (std::size_t pair = 0, j = 0; pair < pairs; ++pair) {
            const auto point = static_cast<T>(points.points[pair]);
            for (const std::size_t end = j + panel; j < end; ++j)
              to[j] = start[j] + point * way[j];
          }
        else {
          const auto point = static_cast<T>(points.points[s + i]);
          for (std::size_t j = 0; j < n; ++j)
            to[j] = start[j] + point * way[j];
        }
      }
    forward_rest(model, space, steps * pairs);
    backward_rest(model, space, steps * pairs, targets, count);
    for (std::size_t p = 0; p < across; ++p)
      for (std::size_t i = 0; i < steps; ++i) {
        const T *from = delta.data + p * delta.stride + i * n;
        T *sum = space.sum.data + p * space.sum.stride;
        const auto weight = static_cast<T>(points.weights[s + i]);
        for (std::size_t j = 0; j < n; ++j)
          sum[j] += weight * from[j];
      }
    if (space.nodes.size() > 0)
      add_conductance(model, points.weights + s, steps, space, tile, count);
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void lay_paths(AttributeSpace<T> &, const Baselines<T> &, Matrix<T>, std::size_t,       \
                          std::size_t);                                                            \
  template void walk_paths(const Model<T> &, const Points &, AttributeSpace<T> &, std::size_t,     \
                           std::size_t, const std::int64_t *, const Crew &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
