// Private training, DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy"): each
// example's gradient clipped to a norm, and noise in their sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stages/stage.h"

namespace culpa {

// The sum over the batch, plus noise, is divided by `divisor` in place of the batch's size, which
// is a secret.
struct PrivateStep {
  double clip = 0;    // largest norm; 0: ordinary training
  double noise = 0;   // standard deviation in the sum, each parameter
  double divisor = 0; // expected examples in a batch
  std::uint64_t noise_seed = 0;
};

// The error signals of this thread's part of so many rows, times min(1, limit / the norm of the
// row's gradient).
template <class T> void clip_examples(const Pass<T> &pass, std::size_t rows, double limit);

// Adds scale * standard normal numbers to a unit's gradient: numbers of the seed, the step and the
// places in the flat vector, so the same ones whichever thread asks.
template <class T>
void add_noise(const Network &network, const Unit &unit, T *gradient, const Place &place,
               const PrivateStep &privacy, std::uint64_t step);

} // namespace culpa
