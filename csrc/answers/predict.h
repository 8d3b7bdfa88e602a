// Plain guesses.
#pragma once

#include <cstddef>
#include <cstdint>

#include "data/gather.h"
#include "network/model.h"
#include "threads/interrupt.h"
#include "view.h"

namespace culpa {

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

} // namespace culpa
