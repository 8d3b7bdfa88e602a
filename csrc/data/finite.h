// Values that are not finite.
#pragma once

#include <cstddef>

#include "view.h"

namespace culpa {

// The first row of a source with a value that is not finite once converted to T and scaled, or
// no_row.
template <class T>
std::size_t find_not_finite(const Source &source, double scale, std::size_t threads);

} // namespace culpa
