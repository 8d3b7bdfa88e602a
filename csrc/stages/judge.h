// What guesses cost: the loss of each row, its derivative and its score.
#pragma once

#include <cstddef>

#include "network/network.h"
#include "network/workspace.h"
#include "view.h"

namespace culpa {

// Where a judgement goes: dL_i/dh (no data: not wanted), and per row.
template <class T> struct Judgement {
  Matrix<T> delta;
  double *losses, *scores;
};

// Judges `rows` of the workspace's outputs, of which row 0 is position `first` of the examples; the
// targets are gathered before. Gives whether all losses are finite. `thread` says which part of the
// scratch is free.
template <class T>
bool judge(const Network &network, const ExamplesView &examples, std::size_t first,
           Workspace<T> &space, std::size_t thread, Range rows, const Judgement<T> &out);

// Losses and scores once more, in float64 and from the targets as they were given: for targets
// whose spread the model's dtype rounds away. What the loss kernel says of the rounded ones
// measures the rounding. The error signals stay as they are.
template <class T>
void judge_exactly(const Network &network, const ExamplesView &examples, std::size_t first,
                   Matrix<T> outputs, Range rows, double *losses, double *scores);

// Sums over examples: of w L, w and w * score.
struct LossSums {
  double loss = 0, weight = 0, score = 0;
  std::size_t row = kernels::no_row; // a row of the source that holds NaN or infinity
  bool interrupted = false;
};

// Adds a block's losses and scores up, in the order of its examples.
template <class T>
void add_up(const ExamplesView &examples, const Workspace<T> &space, Range positions,
            LossSums &sums);

} // namespace culpa
