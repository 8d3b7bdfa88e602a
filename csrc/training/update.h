// Fix: the optimizer over pieces of the arrays.
#pragma once

#include "network/model.h"
#include "network/network.h"

namespace culpa {

// The optimizer over one unit, whose gradient lies at a place, then the unit's copies in panels.
template <class T>
void update_unit(Model<T> &model, const StepRule<T> &rule, const Unit &unit, const T *gradient,
                 const Place &place);

template <class T> double sum_of_squares(const T *values, const Place &place);

} // namespace culpa
