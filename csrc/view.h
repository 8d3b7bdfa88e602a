// Views: where data lies and what shape it has. They own nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace culpa {

using kernels::Range;

inline std::size_t panels(std::size_t columns, std::size_t panel) {
  return (columns + panel - 1) / panel;
}

// Rows of examples in panels, as kernels.h describes them.
template <class T> struct Matrix {
  T *data = nullptr;
  std::size_t stride = 0; // between panels
  std::size_t columns = 0;
};

// Rows as the user's arrays hold them: any dtype, any strides (in bytes). Or sparse, in CSR form:
// row i has the entries [begins[i], begins[i + 1]), each a value in `data` and its column in
// `indices`, both side by side.
struct Source {
  const void *data = nullptr;
  DType dtype = DType::f32;
  std::size_t rows = 0, columns = 0;
  std::ptrdiff_t row_stride = 0, column_stride = 0;
  const std::int64_t *begins = nullptr; // rows + 1 of our own, checked; nullptr: dense
  const void *indices = nullptr;        // the user's: checked again whenever they are read
  bool wide_indices = false;            // int64, not int32

  bool sparse() const { return begins != nullptr; }
  std::size_t entries(std::size_t row) const {
    return static_cast<std::size_t>(begins[row + 1] - begins[row]);
  }
};

inline std::size_t item_size(DType type) {
  switch (type) {
  case DType::u8:
  case DType::i8:
    return 1;
  case DType::u16:
  case DType::i16:
  case DType::f16:
    return 2;
  case DType::u32:
  case DType::i32:
  case DType::f32:
    return 4;
  case DType::u64:
  case DType::i64:
  case DType::f64:
    return 8;
  }
  return 0;
}

// What an example should have given: one class each, or a row of values.
struct Targets {
  const std::int32_t *labels = nullptr;
  Source values;
};

// Examples to work on: order[begin..end) names rows of the sources; without an order the positions
// are the rows themselves.
struct ExamplesView {
  Source x;
  Targets y;
  const std::int64_t *order = nullptr;
  const double *sample_weights = nullptr; // per row of the sources; nullptr: all 1
  const double *score_scale = nullptr;    // per output: see loss.inc; nullptr: no scores
  const double *exact = nullptr;          // the targets (rows, outputs) again: see exact.h

  std::size_t row(std::size_t position) const {
    return order ? static_cast<std::size_t>(order[position]) : position;
  }
  double sample_weight(std::size_t position) const {
    return sample_weights ? sample_weights[row(position)] : 1.0;
  }
};

} // namespace culpa
