// The weights of a batch's examples, of which only the ratios count.
#pragma once

#include "view.h"

namespace culpa {

// What a batch's weights count in its gradient: times 2^shift, and divided by their sum. Where they
// are far from 1 the shift brings the greatest of them there; so float holds what double does, and
// the bits are those of the same weights times any other power of two.
struct BatchWeights {
  int shift = 0;
  double weight_sum = 0; // of the weights times 2^shift

  double shifted(double weight) const;
  double given_weight_sum() const; // of the weights as they were given
};

BatchWeights batch_weights(const ExamplesView &examples, Range positions);

} // namespace culpa
