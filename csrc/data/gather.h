// Rows of a source on their way in: picked by an order, converted and scaled.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "buffer.h"
#include "view.h"

namespace culpa {

using kernels::no_row;

// Where one thread puts a row on its way in. Made before the threads set to work: memory that runs
// out among them could not be reported.
struct RowBuffer {
  explicit RowBuffer(std::size_t columns) : raw(columns * sizeof(std::uint64_t)) {}
  Buffer<std::byte> raw; // a row of the source whose columns are strided, side by side
};

// Gather and convert examples into panels, whose row 0 is position `first`. Gives the first row of
// the source found to hold a value that is not finite, or no_row.
template <class T>
std::size_t gather(const Source &source, const ExamplesView &examples, Range positions,
                   std::size_t first, T scale, Matrix<T> to, RowBuffer &buffer);

// What examples should have given, for some positions: labels, or rows of targets side by side.
// Gives a row of the source whose label is out of range or whose target is not finite, or no_row.
template <class T>
std::size_t gather_targets(const ExamplesView &examples, Range positions, std::size_t outputs,
                           std::int32_t *labels, T *targets);

// Keeps the lowest of the bad rows that threads report, so that the one named is always the same.
inline void report_row(std::atomic<std::size_t> &lowest, std::size_t row) {
  std::size_t known = lowest.load(std::memory_order_relaxed);
  while (row < known && !lowest.compare_exchange_weak(known, row, std::memory_order_relaxed)) {
  }
}

} // namespace culpa
