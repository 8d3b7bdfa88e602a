// The ceiling that benchmarks measure against.
#pragma once

#include <cstddef>

namespace culpa {

// Floating-point operations per second of so many threads together, in the instruction set in use:
// the median of `rounds` short looks (about 0.2 ms each).
template <class T> double measure_peak(std::size_t threads, std::size_t rounds);

} // namespace culpa
