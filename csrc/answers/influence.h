// Influence: which training example pulls the weights the way a test example would have them go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/gather.h"
#include "network/model.h"
#include "threads/interrupt.h"
#include "view.h"

namespace culpa {

// score(test j, train i) = sum over the models of factor * (gradient of L_j . gradient of L_i),
// over all weights and biases; examples' own weights do not count.
template <class T> struct InfluenceJob {
  std::vector<const Model<T> *> models; // the same inputs and outputs
  const double *factors = nullptr;      // per model
  ExamplesView train, test;
};

// Where the answers go, row-major: all scores, or the `top` first of each test row in both orders,
// ties by lowest index, NaN last.
template <class T> struct InfluenceOut {
  T *scores = nullptr; // (tests, trains)
  std::size_t top = 0; // at most as many as there are training examples
  std::int64_t *highest = nullptr, *lowest = nullptr;    // (tests, top)
  T *highest_scores = nullptr, *lowest_scores = nullptr; // (tests, top)
};

// Rows found that hold NaN or infinity, or no_row.
struct InfluenceResult {
  std::size_t train_row = no_row, test_row = no_row;
};

template <class T>
InfluenceResult influence(const InfluenceJob<T> &job, const InfluenceOut<T> &out,
                          std::size_t threads, Interrupt interrupt);

} // namespace culpa
