// Layer-wise relevance propagation (Bach et al. 2015, "On pixel-wise explanations for non-linear
// classifier decisions by layer-wise relevance propagation"), the epsilon rule:
// R_i = h_i sum_j w_ij R_j / (z_j + epsilon sign(z_j)), with z_j including the bias, and
// activations pass relevance as it is. So it is x df/dx with h / (z + epsilon sign(z)) in place of
// every slope (Ancona et al. 2018, "Towards better understanding of gradient-based attribution
// methods", proposition 1). sign(0) = 1 here: no quotient may divide by 0.
#include "answers/attribution/attribution.h"

namespace culpa {

using kernels::active;

template <class T>
void relevance_slopes(const Network &network, Workspace<T> &space, std::size_t rows,
                      double epsilon) {
  const auto panel = active<T>().panel;
  const auto e = static_cast<T>(epsilon);
  for (std::size_t l = 0; l < network.stages.size(); ++l) {
    const Matrix<T> h = space.hidden[l + 1], z = space.delta[l], slopes = space.slopes[l];
    for (std::size_t p = 0; p < panels(h.columns, panel); ++p)
      for (std::size_t j = p * h.stride; j < p * h.stride + rows * panel; ++j)
        slopes.data[j] = h.data[j] / (z.data[j] + (z.data[j] < T(0) ? -e : e));
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void relevance_slopes(const Network &, Workspace<T> &, std::size_t, double);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
