// The answers of an attribution, from a block's matrices to rows: which output was asked about, the
// values and their sums.
#include <algorithm>

#include "answers/attribution/attribution.h"

namespace culpa {

using kernels::active;

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

template <class T>
void note_baseline(Matrix<T> outputs, const Baselines<T> &baselines, Range rows,
                   const AttributeOut<T> &out) {
  for (std::size_t i = rows.begin; i < rows.end; ++i)
    out.baseline_outputs[i] =
        at(outputs, baselines.row(0, i - rows.begin), static_cast<std::size_t>(out.targets[i]));
}

template <class T>
void write_values(const Network &network, const AttributeJob &job, const AttributeSpace<T> &space,
                  const Baselines<T> &baselines, Range rows, const AttributeOut<T> &out) {
  const auto panel = active<T>().panel;
  const Matrix<T> x = space.x, b = baselines.matrix, g = space.gradient;
  const auto scale = static_cast<T>(network.input_scale);
  for (std::size_t i = rows.begin; i < rows.end; ++i) {
    const std::size_t r = i - rows.begin;
    T *to = out.values + i * g.columns;
    double sum = 0;
    for (std::size_t j = 0; j < g.columns; j += panel) {
      const std::size_t n = std::min(panel, g.columns - j), p = j / panel;
      const T *slope = g.data + p * g.stride + r * panel;
      const T *above = x.data + p * x.stride + r * panel;
      const T *below = b.data + p * b.stride + baselines.row(0, r) * panel;
      for (std::size_t c = 0; c < n; ++c)
        to[j + c] = slope[c] * (job.times_inputs ? above[c] - below[c] : scale);
      for (std::size_t c = 0; c < n; ++c)
        sum += static_cast<double>(to[j + c]);
    }
    out.sums[i] = sum;
  }
}

template <class T>
void add_values(AttributeSpace<T> &space, const Baselines<T> &baselines, std::size_t tile,
                std::size_t count) {
  const auto panel = active<T>().panel;
  const Matrix<T> x = space.x, b = baselines.matrix, g = space.gradient;
  for (std::size_t t = 0; t < tile; ++t)
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t j = 0; j < g.columns; j += panel) {
        const std::size_t n = std::min(panel, g.columns - j), p = j / panel;
        const T *slope = g.data + p * g.stride + (t * count + r) * panel;
        const T *above = x.data + p * x.stride + r * panel;
        const T *below = b.data + p * b.stride + baselines.row(t, r) * panel;
        double *to = space.values.data() + r * g.columns + j;
        for (std::size_t c = 0; c < n; ++c)
          to[c] += static_cast<double>(slope[c] * (above[c] - below[c]));
      }
}

template <class T>
void write_mean_values(const AttributeSpace<T> &space, std::size_t baselines, Range rows,
                       const AttributeOut<T> &out) {
  const std::size_t inputs = space.x.columns;
  const double *from = space.values.data();
  for (std::size_t i = rows.begin; i < rows.end; ++i) {
    double sum = 0;
    for (std::size_t j = i * inputs; j < (i + 1) * inputs; ++j) {
      out.values[j] = static_cast<T>(*from++ / static_cast<double>(baselines));
      sum += static_cast<double>(out.values[j]);
    }
    out.sums[i] = sum;
  }
}

template <class T>
void write_nodes(const Network &network, const AttributeSpace<T> &space, std::size_t baselines,
                 Range rows, const AttributeOut<T> &out) {
  const double *from = space.nodes.data();
  for (std::size_t i = rows.begin; i < rows.end; ++i)
    for (std::size_t l = 0; l < out.nodes.size(); ++l) {
      const std::size_t width = network.stages[network.dense[l]].outputs;
      for (std::size_t j = 0; j < width; ++j)
        out.nodes[l][i * width + j] = static_cast<T>(*from++ / static_cast<double>(baselines));
    }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void choose_targets(const AttributeJob &, Matrix<T>, Range, const AttributeOut<T> &);   \
  template void note_baseline(Matrix<T>, const Baselines<T> &, Range, const AttributeOut<T> &);    \
  template void write_values(const Network &, const AttributeJob &, const AttributeSpace<T> &,     \
                             const Baselines<T> &, Range, const AttributeOut<T> &);                \
  template void add_values(AttributeSpace<T> &, const Baselines<T> &, std::size_t, std::size_t);   \
  template void write_mean_values(const AttributeSpace<T> &, std::size_t, Range,                   \
                                  const AttributeOut<T> &);                                        \
  template void write_nodes(const Network &, const AttributeSpace<T> &, std::size_t, Range,        \
                            const AttributeOut<T> &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
