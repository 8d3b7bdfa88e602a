// Private training, DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy"): each
// example's gradient clipped to a norm, and noise in their sum.
#include <algorithm>
#include <cmath>

#include "random.h"
#include "walk.h"

namespace culpa {

using kernels::active;

// By scaling the error signals: an example's gradient of layer l is the outer product of h_l and
// delta_l (Goodfellow 2015, "Efficient per-example gradient computations"), so
// ||g||^2 = sum over layers of ||delta_l||^2 (||h_l||^2 + 1), and factor * delta_l makes factor *
// g.
template <class T>
void clip_examples(const Network &network, Workspace<T> &space, const Block &block,
                   const Crew &crew, double limit) {
  const auto &k = active<T>();
  const Range mine = crew.share({0, block.rows()});
  double *total = space.example_squares.data();
  double *h = space.layer_squares.data(), *d = h + space.rows;
  std::fill(total + mine.begin, total + mine.end, 0.0);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Matrix<T> hidden = space.hidden[l], delta = space.delta[l];
    std::fill(h + mine.begin, h + mine.end, 1.0);
    std::fill(d + mine.begin, d + mine.end, 0.0);
    k.row_squares({hidden.data, hidden.stride, hidden.columns, mine, h});
    k.row_squares({delta.data, delta.stride, delta.columns, mine, d});
    for (std::size_t r = mine.begin; r < mine.end; ++r)
      total[r] += d[r] * h[r];
  }
  // Less by more than what rounds on the way, so that no clipped gradient is longer than asked.
  const double bound = limit * (1 - (sizeof(T) == 4 ? 2e-6 : 1e-12));
  for (std::size_t r = mine.begin; r < mine.end; ++r) {
    const double norm = std::sqrt(total[r]);
    if (norm <= bound)
      continue;
    const auto factor = static_cast<T>(bound / norm);
    for (const Matrix<T> &delta : space.delta)
      for (std::size_t p = 0; p < panels(delta.columns, k.panel); ++p) {
        T *row = delta.data + p * delta.stride + r * k.panel;
        for (std::size_t i = 0; i < k.panel; ++i)
          row[i] *= factor;
      }
  }
}

template <class T>
void add_noise(const Network &network, const Unit &unit, T *gradient, const Place &place,
               double scale, std::uint64_t seed, std::uint64_t step) {
  const Place flat = place_in_flat(network, unit);
  const bool one = flat.width == flat.stride && place.width == place.stride;
  for (std::size_t i = 0; i < (one ? 1 : flat.rows); ++i)
    active<T>().noise({gradient + place.offset + i * place.stride,
                       flat.offset + i * flat.stride,
                       one ? flat.rows * flat.width : flat.width,
                       static_cast<T>(scale),
                       {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)},
                       {static_cast<std::uint32_t>(step), stream(Purpose::noise, 0, 0)}});
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void clip_examples(const Network &, Workspace<T> &, const Block &, const Crew &,        \
                              double);                                                             \
  template void add_noise(const Network &, const Unit &, T *, const Place &, double,               \
                          std::uint64_t, std::uint64_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
