// What the loop computes, kept instead of consumed; and plain guesses.
#pragma once

#include <cstddef>
#include <vector>

#include "training/trainer.h"
#include "view.h"

namespace culpa {

// Where the answers go; what is nullptr (or empty) is not computed. Row-major arrays.
template <class T> struct BlameOut {
  double *losses = nullptr;         // (rows)
  std::vector<T *> nodes;           // per layer: (rows, outputs), dL_i/dz
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

// What predict writes, any of them nullptr. With targets in the examples, losses and scores too.
template <class T> struct PredictOut {
  T *logits = nullptr;             // (rows, outputs)
  std::int64_t *classes = nullptr; // (rows): the first greatest output
  double *losses = nullptr, *scores = nullptr;
};

struct PredictResult {
  std::size_t row = no_row; // the first found that holds NaN or infinity
  bool stopped = false;
};

template <class T>
PredictResult predict(const Model<T> &model, const ExamplesView &examples, std::size_t rows,
                      const PredictOut<T> &out, std::size_t threads, Interrupt interrupt);

// The first row of a source with a value that is not finite once converted to T and scaled, or
// no_row.
template <class T>
std::size_t find_not_finite(const Source &source, double scale, std::size_t threads);

} // namespace culpa
