// DeepLIFT (Shrikumar, Greenside & Kundaje 2017, "Learning important features through propagating
// activation differences"), the rescale rule: in place of x's slopes dh/dz the quotient of the
// differences from the baseline. Where z hardly differs, the slope stays: its error falls with the
// difference while that of the quotient grows, and both are about sqrt(epsilon) where they meet. No
// kink at 0 lies between two z that near each other.
#include <algorithm>
#include <cmath>
#include <limits>

#include "answers/attribution/attribution.h"

namespace culpa {

using kernels::active;

template <class T>
void rescale_slopes(const Network &network, AttributeSpace<T> &space, const Baselines<T> &baselines,
                    std::size_t tile, std::size_t count) {
  const auto panel = active<T>().panel;
  const T near = std::sqrt(std::numeric_limits<T>::epsilon());
  for (std::size_t l = 0; l < network.stages.size(); ++l) {
    const Matrix<T> h = space.end->hidden[l + 1], z = space.end->delta[l];
    const Matrix<T> slopes = space.end->slopes[l], quotients = space.path.slopes[l];
    const bool linear = network.stages[l].activation == Activation::identity;
    for (std::size_t p = 0; p < panels(h.columns, panel); ++p)
      for (std::size_t t = 0; t < tile; ++t)
        for (std::size_t r = 0; r < count; ++r) {
          const std::size_t above = p * h.stride + r * panel;
          const std::size_t below = p * h.stride + (space.height + baselines.row(t, r)) * panel;
          T *to = quotients.data + p * quotients.stride + (t * count + r) * panel;
          std::copy_n(slopes.data + above, panel, to);
          if (linear)
            continue;
          for (std::size_t j = 0; j < panel; ++j) {
            const T upper = z.data[above + j], lower = z.data[below + j];
            const T difference = upper - lower;
            if (std::abs(difference) > near * std::max(std::abs(upper), std::abs(lower)))
              to[j] = (h.data[above + j] - h.data[below + j]) / difference;
          }
        }
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void rescale_slopes(const Network &, AttributeSpace<T> &, const Baselines<T> &,         \
                               std::size_t, std::size_t);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
