// SmoothGrad (Smilkov, Thorat, Kim, Viegas & Wattenberg 2017, "SmoothGrad: removing noise by adding
// noise"): the mean of df/dx at x plus normal noise. The error signals of the entry are summed over
// the samples, so only one product goes back to the inputs.
#include <algorithm>

#include "answers/attribution/attribution.h"

namespace culpa {

using kernels::active;

namespace {

// Samples [first, first + steps) around each row of x, into hidden[0]. Number
// sample * inputs + input of the row's stream is the noise, whatever is drawn together.
template <class T>
void scatter_samples(const AttributeJob &job, AttributeSpace<T> &space, Range rows,
                     std::size_t first, std::size_t steps) {
  const auto &k = active<T>();
  const Matrix<T> x = space.x, to = space.path.hidden[0];
  const std::size_t inputs = x.columns, count = rows.end - rows.begin;
  for (std::size_t r = 0; r < count; ++r) {
    const std::size_t row = rows.begin + r;
    T *noise = space.noise.data();
    std::fill_n(noise, steps * inputs, T(0));
    k.noise(
        {.values = noise,
         .first = std::uint64_t{first} * inputs,
         .n = steps * inputs,
         .scale = T(1),
         .key = {static_cast<std::uint32_t>(job.seed), static_cast<std::uint32_t>(job.seed >> 32U)},
         .stream = {static_cast<std::uint32_t>(row), stream(Purpose::attribution, row >> 32U, 1)}});
    for (std::size_t i = 0; i < steps; ++i, noise += inputs)
      for (std::size_t j = 0; j < inputs; j += k.panel) {
        const std::size_t p = j / k.panel, n = std::min(k.panel, inputs - j);
        const T *from = x.data + p * x.stride + r * k.panel;
        T *into = to.data + p * to.stride + (i * count + r) * k.panel;
        for (std::size_t c = 0; c < n; ++c)
          into[c] = from[c] + space.deviation[j + c] * noise[j + c];
      }
  }
}

} // namespace

template <class T>
void walk_around(const Model<T> &model, const AttributeJob &job, AttributeSpace<T> &space,
                 Range rows, const std::int64_t *targets, const Crew &crew) {
  const auto panel = active<T>().panel;
  const Matrix<T> delta = space.signals();
  const std::size_t count = rows.end - rows.begin, n = count * panel;
  const std::size_t across = panels(delta.columns, panel);
  const std::size_t inputs = space.x.columns, together = space.noise.size() / inputs;
  const T weight = T(1) / static_cast<T>(job.samples);
  for (std::size_t p = 0; p < across; ++p)
    std::fill_n(space.sum.data + p * space.sum.stride, n, T(0));
  for (std::size_t s = 0; s < job.samples && crew.going(); s += together) {
    const std::size_t steps = std::min(together, job.samples - s);
    scatter_samples(job, space, rows, s, steps);
    walk_to_entry(model, space, space.path.hidden[0], space.entries(), steps * count);
    forward_rest(model, space, steps * count);
    backward_rest(model, space, steps * count, targets, count);
    for (std::size_t p = 0; p < across; ++p)
      for (std::size_t i = 0; i < steps; ++i) {
        const T *from = delta.data + p * delta.stride + i * n;
        T *sum = space.sum.data + p * space.sum.stride;
        for (std::size_t j = 0; j < n; ++j)
          sum[j] += weight * from[j];
      }
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void walk_around(const Model<T> &, const AttributeJob &, AttributeSpace<T> &, Range,    \
                            const std::int64_t *, const Crew &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
