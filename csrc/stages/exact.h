// Losses and scores once more, in float64 and from the targets as they were given.
#pragma once

#include "network/network.h"
#include "view.h"

namespace culpa {

// For targets whose spread the model's dtype rounds away: what the loss kernel says of the rounded
// ones measures the rounding. Overwrites its losses of `rows`, and its scores where there is a
// score_scale; row r is the example at position begin + r. The error signals stay as they are.
template <class T>
void judge_exactly(const Network &network, const ExamplesView &examples, std::size_t begin,
                   Matrix<T> outputs, Range rows, double *losses, double *scores);

} // namespace culpa
