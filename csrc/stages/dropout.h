// Inverted dropout (Srivastava et al. 2014): each value is zero with some probability, and divided
// by the rest of it otherwise. The random numbers are those of a step, a value and a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "data/sparse.h"
#include "view.h"

namespace culpa {

// Random numbers of a step: which model, which step of it, and where the block begins in its batch.
struct Draw {
  std::uint64_t seed = 0;
  std::size_t member = 0;
  std::uint64_t step = 0;
  std::size_t first_row = 0;
};

// Of value `value` of a network, and of its slopes where there are some (nullptr: none).
template <class T>
void drop_values(Matrix<T> values, T *slopes, Range rows, Range panels, double rate,
                 const Draw &draw, std::size_t value);
// Of sparse inputs.
template <class T>
void drop_entries(SparseBlock<T> &block, Range rows, double rate, const Draw &draw);

} // namespace culpa
