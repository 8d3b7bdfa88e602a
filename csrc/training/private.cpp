#include "training/private.h"

#include <cmath>

#include "random.h"
#include "stages/walk.h"

namespace culpa {

using kernels::active;

// By scaling the error signals: factor * delta makes factor * g.
template <class T> void clip_examples(const Pass<T> &pass, std::size_t rows, double limit) {
  const Range mine = pass.crew.share({0, rows});
  square_norms(pass.network, pass.space, mine);
  // Less by more than what rounds on the way, so that no clipped gradient is longer than asked.
  const double bound = limit * (1 - (sizeof(T) == 4 ? 2e-6 : 1e-12));
  for (std::size_t r = mine.begin; r < mine.end; ++r) {
    const double norm = std::sqrt(pass.space.example_squares[r]);
    if (!(norm <= bound))
      scale_row(pass.space, r, static_cast<T>(bound / norm));
  }
}

template <class T>
void add_noise(const Network &network, const Unit &unit, T *gradient, const Place &place,
               const PrivateStep &privacy, std::uint64_t step) {
  const Place flat = network.place_in_flat(unit);
  const std::uint64_t seed = privacy.noise_seed;
  const bool one = flat.width == flat.stride && place.width == place.stride;
  for (std::size_t i = 0; i < (one ? 1 : flat.rows); ++i)
    active<T>().noise(
        {.values = gradient + place.offset + i * place.stride,
         .first = flat.offset + i * flat.stride,
         .n = one ? flat.rows * flat.width : flat.width,
         .scale = static_cast<T>(privacy.noise),
         .key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)},
         .stream = {static_cast<std::uint32_t>(step), stream(Purpose::noise, 0, 0)}});
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void clip_examples(const Pass<T> &, std::size_t, double);                               \
  template void add_noise(const Network &, const Unit &, T *, const Place &, const PrivateStep &,  \
                          std::uint64_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
