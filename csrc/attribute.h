// Attributions: how much each input of an example did to one of its outputs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "trainer.h"
#include "view.h"

namespace culpa {

// f is one output of the last layer, its activation included, before any link function: what
// predict calls logits. The baseline's rows belong to x's; a row stride of 0 is one for all.
struct AttributeJob {
  Source x, baseline;                    // baseline without data: the gradient at x itself
  const std::int64_t *targets = nullptr; // per row; nullptr: the first greatest output
  // The path from baseline (0) to x (1): the mean gradient is sum_k weights[k] df/dx at points[k].
  const double *points = nullptr, *weights = nullptr;
  std::size_t steps = 0;
  // Instead of a path: DeepLIFT's rescale rule between baseline and x.
  bool rescale = false;
  bool times_inputs = false; // values are the gradient times x - baseline, not the gradient
};

// Where the answers go. Row-major arrays.
template <class T> struct AttributeOut {
  T *values = nullptr;             // (rows, inputs), of the raw inputs
  std::int64_t *targets = nullptr; // (rows): the output that was asked about
  T *outputs = nullptr;            // (rows): f(x)
  T *baseline_outputs = nullptr;   // (rows): f(baseline); not written without a baseline
  double *sums = nullptr;          // (rows): of the values
};

// Rows found that hold NaN or infinity, or no_row.
struct AttributeResult {
  std::size_t x_row = no_row, baseline_row = no_row;
};

template <class T>
AttributeResult attribute(const Model<T> &model, const AttributeJob &job,
                          const AttributeOut<T> &out, std::size_t threads, Interrupt interrupt);

} // namespace culpa
