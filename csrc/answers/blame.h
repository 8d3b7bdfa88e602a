// What the loop computes, kept instead of consumed.
#pragma once

#include <cstddef>
#include <vector>

#include "network/model.h"
#include "stages/judge.h"
#include "threads/interrupt.h"
#include "view.h"

namespace culpa {

// Where the answers go; what is nullptr (or empty) is not computed. Row-major arrays.
template <class T> struct BlameOut {
  double *losses = nullptr;         // (rows)
  std::vector<T *> nodes;           // per dense layer: (rows, outputs), dL_i/dz
  std::vector<T *> hidden;          // the same, h: what the layer gives
  std::vector<T *> slopes;          // the same, dh/dz
  T *inputs = nullptr;              // (rows, inputs), dL_i/dx of the raw inputs
  double *gradient_norms = nullptr; // (rows): of each example's own gradient
  T *gradient = nullptr;            // flat: the gradient of the batch loss
};

// Walks all positions [0, rows) without dropout. Only the gradient knows the examples' weights.
template <class T>
LossSums blame(const Model<T> &model, const ExamplesView &examples, std::size_t rows,
               const BlameOut<T> &out, std::size_t threads, Interrupt interrupt);

} // namespace culpa
