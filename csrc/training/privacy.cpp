// Private training, DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy"): each
// example's gradient clipped to a norm, and noise in their sum.
#include <algorithm>
#include <cmath>

#include "random.h"
#include "stages/walk.h"

namespace culpa {

using kernels::active;

// An example's gradient of layer l is the outer product of h_l and delta_l (Goodfellow 2015,
// "Efficient per-example gradient computations"), so
// ||g||^2 = sum over layers of ||delta_l||^2 (||h_l||^2 + 1).
template <class T> void square_norms(const Network &network, Workspace<T> &space, Range rows) {
  const auto &k = active<T>();
  double *total = space.example_squares.data();
  double *h = space.layer_squares.data(), *d = h + space.rows;
  std::fill(total + rows.begin, total + rows.end, 0.0);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Matrix<T> hidden = space.hidden[l], delta = space.delta[l];
    std::fill(h + rows.begin, h + rows.end, 1.0);
    std::fill(d + rows.begin, d + rows.end, 0.0);
    if (l == 0 && space.sparse)
      k.sparse_row_squares({space.entries.view(), network.inputs(), rows, h});
    else
      k.row_squares({.values = hidden.data,
                     .stride = hidden.stride,
                     .columns = hidden.columns,
                     .rows = rows,
                     .sums = h});
    k.row_squares({.values = delta.data,
                   .stride = delta.stride,
                   .columns = delta.columns,
                   .rows = rows,
                   .sums = d});
    for (std::size_t r = rows.begin; r < rows.end; ++r)
      total[r] += d[r] * h[r];
  }
}

// By scaling the error signals: factor * delta_l makes factor * g.
template <class T>
void clip_examples(const Network &network, Workspace<T> &space, const Block &block,
                   const Crew &crew, double limit) {
  const Range mine = crew.share({0, block.rows()});
  square_norms(network, space, mine);
  // Less by more than what rounds on the way, so that no clipped gradient is longer than asked.
  const double bound = limit * (1 - (sizeof(T) == 4 ? 2e-6 : 1e-12));
  for (std::size_t r = mine.begin; r < mine.end; ++r) {
    const double norm = std::sqrt(space.example_squares[r]);
    if (!(norm <= bound))
      scale_row(space, r, static_cast<T>(bound / norm));
  }
}

template <class T>
void add_noise(const Network &network, const Unit &unit, T *gradient, const Place &place,
               double scale, std::uint64_t seed, std::uint64_t step) {
  const Place flat = place_in_flat(network, unit);
  const bool one = flat.width == flat.stride && place.width == place.stride;
  for (std::size_t i = 0; i < (one ? 1 : flat.rows); ++i)
    active<T>().noise(
        {.values = gradient + place.offset + i * place.stride,
         .first = flat.offset + i * flat.stride,
         .n = one ? flat.rows * flat.width : flat.width,
         .scale = static_cast<T>(scale),
         .key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)},
         .stream = {static_cast<std::uint32_t>(step), stream(Purpose::noise, 0, 0)}});
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void square_norms(const Network &, Workspace<T> &, Range);                              \
  template void clip_examples(const Network &, Workspace<T> &, const Block &, const Crew &,        \
                              double);                                                             \
  template void add_noise(const Network &, const Unit &, T *, const Place &, double,               \
                          std::uint64_t, std::uint64_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
