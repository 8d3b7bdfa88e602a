// Attributions: how much each input of an example did to one of its outputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/gather.h"
#include "network/model.h"
#include "threads/interrupt.h"
#include "view.h"

namespace culpa {

enum class Method : int; // attribution.h

// f is one output of the last layer, its activation included, before any link function: what
// predict calls logits.
struct AttributeJob {
  Method method{}; // the gradient
  Source x;
  const std::int64_t *targets = nullptr; // per row; nullptr: the first greatest output
  bool times_inputs = false; // values are the gradient times x - baseline, not the gradient
  // path, deeplift: a baseline per row (a row stride of 0: one for all), or a set of them that the
  // answer is the mean over; expected: the set. Without data where there is none.
  Source baseline, background;
  // path, from the baseline (0) to x (1): the mean gradient is sum_k weights[k] df/dx at points[k].
  const double *points = nullptr, *weights = nullptr;
  std::size_t steps = 0;
  // smooth, expected: draws per row; smooth: the standard deviation of each raw input.
  std::size_t samples = 0;
  const double *noise = nullptr;
  std::uint64_t seed = 0;
  double epsilon = 0; // lrp
};

// Where the answers go. Row-major arrays.
template <class T> struct AttributeOut {
  T *values = nullptr;             // (rows, inputs), of the raw inputs
  std::int64_t *targets = nullptr; // (rows): the output that was asked about
  T *outputs = nullptr;            // (rows): f(x)
  T *baseline_outputs = nullptr;   // (rows): f(baseline), or its mean; not written without one
  double *sums = nullptr;          // (rows): of the values
  std::vector<T *> nodes;          // path: per hidden dense layer, (rows, units); empty: none
};

// Rows found that hold NaN or infinity, or no_row.
struct AttributeResult {
  std::size_t x_row = no_row, baseline_row = no_row; // of the baseline or the background
};

template <class T>
AttributeResult attribute(const Model<T> &model, const AttributeJob &job,
                          const AttributeOut<T> &out, std::size_t threads, Interrupt interrupt);

} // namespace culpa
