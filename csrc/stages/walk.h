// The walk of a block of examples through the network: guess (forward.cpp), blame (backward.cpp),
// fix (update.cpp). All are called by every thread of a crew, each for its part.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "data/weights.h"
#include "network/network.h"
#include "network/parameters.h"
#include "network/workspace.h"
#include "threads/team.h"
#include "view.h"

namespace culpa {

// How the row phase is shared among threads: each takes some rows through all layers and waits for
// nobody; or, for few rows and wide layers, each takes some columns of every layer, with a barrier
// after each.
enum class Split { rows, columns };
constexpr Name<Split> split_names[] = {{Split::rows, "rows"}, {Split::columns, "columns"}};
static_assert(sizeof split_names / sizeof *split_names ==
              static_cast<std::size_t>(Split::columns) + 1);

struct Plan {
  std::size_t threads = 1;
  Split split = Split::rows;
};

enum class Walk { train, predict };

// The fastest plan for calls of so many rows (of x, where that may be sparse): what arithmetic
// costs, against barriers and against what moves between the cores' caches.
Plan make_plan(const Network &network, std::size_t rows, Walk walk, std::size_t most_threads,
               const Source *x = nullptr);

// How dropout's 32 random bits decide: what is below is dropped.
std::uint32_t dropout_threshold(double rate);

// For tests: every plan from now on; 0 threads: choose again.
void force_plan(std::size_t threads, Split split);

// Random numbers of a step: which model, which step of it, and where the block begins in its batch.
struct Draw {
  std::uint64_t seed = 0;
  std::size_t member = 0;
  std::uint64_t step = 0;
  std::size_t first_row = 0;
};

// f(stretch) for stretches of the rows, as long as the crew goes on: a long call is asked between
// them. 504 rows are whole tiles of 14 and of 6. Gives whether all were worked on.
template <class F> bool by_stretches(const Crew &crew, Range rows, F f) {
  if (!crew.poll) {
    f(rows);
    return true;
  }
  constexpr std::size_t stretch = 504;
  for (std::size_t begin = rows.begin; begin < rows.end; begin += stretch) {
    if (!crew.going())
      return false;
    f(Range{begin, std::min(begin + stretch, rows.end)});
  }
  return true;
}

// One block: positions [begin, end) of the examples' order.
struct Block {
  const ExamplesView &examples;
  Range positions;
  const Draw *dropout; // nullptr: none

  std::size_t rows() const { return positions.end - positions.begin; }
};

using kernels::no_row;

// Gather and convert examples into panels, whose row 0 is position `first`. Gives the first row of
// the source found to hold a value that is not finite, or no_row.
template <class T>
std::size_t gather(const Source &source, const ExamplesView &examples, Range positions,
                   std::size_t first, T scale, Matrix<T> to, RowBuffer &buffer);
// The same into rows side by side.
template <class T>
std::size_t gather_rows(const Source &source, const ExamplesView &examples, Range positions, T *to);

// Keeps the lowest of the bad rows that threads report, so that the one named is always the same.
inline void report_row(std::atomic<std::size_t> &lowest, std::size_t row) {
  std::size_t known = lowest.load(std::memory_order_relaxed);
  while (row < known && !lowest.compare_exchange_weak(known, row, std::memory_order_relaxed)) {
  }
}

// One layer for some rows and some panels of outputs; slopes: nullptr where they are not needed;
// entries: sparse rows in place of x.
template <class T>
void forward_layer(const Parameters<T> &parameters, const Layer &layer, std::size_t index,
                   Matrix<T> x, Matrix<T> h, T *slopes, Range rows, Range panels,
                   const Draw *dropout, const SparseBlock<T> *entries = nullptr);

// Guess: inputs, every layer, the loss and its derivative, for this thread's rows. Gives false
// where a loss is not finite; `bad_row` receives a row of the source that holds NaN or infinity.
// Where the crew stops, what it leaves is worth nothing.
template <class T>
bool forward(const Network &network, const Parameters<T> &parameters, Workspace<T> &space,
             const Block &block, const Crew &crew, Split split, std::atomic<std::size_t> &bad_row);

// Sums over examples: of w L, w and w * score.
struct LossSums {
  double loss = 0, weight = 0, score = 0;
  std::size_t row = no_row; // a row of the source that holds NaN or infinity
  bool interrupted = false;
};

// Adds a block's losses and scores up, in the order of its examples.
template <class T>
void add_up(const ExamplesView &examples, const Workspace<T> &space, Range positions,
            LossSums &sums);

// Blame: error signals of every layer from that of the last, for this thread's rows. With
// `input_delta` and `first_weights` (the first layer's backward panels) also those of the inputs.
template <class T>
void backward(const Network &network, const Parameters<T> &parameters, Workspace<T> &space,
              const Block &block, const Crew &crew, Split split,
              const Matrix<T> *input_delta = nullptr, const T *first_weights = nullptr);

// Each row's error signals times its weight, where the examples have weights.
template <class T>
void weigh_examples(Workspace<T> &space, const Block &block, const BatchWeights &sample_weights,
                    const Crew &crew);
// One row's, times a factor.
template <class T> void scale_row(const Workspace<T> &space, std::size_t row, T factor);

// The squared norms of these rows' own gradients, into example_squares.
template <class T> void square_norms(const Network &network, Workspace<T> &space, Range rows);

// Each row's error signals times min(1, limit / the norm of its gradient): private training.
template <class T>
void clip_examples(const Network &network, Workspace<T> &space, const Block &block,
                   const Crew &crew, double limit);

// Where a unit lies in an array: rows of `width` values, `stride` apart. A bias is one row.
struct Place {
  std::size_t offset, rows, width, stride;
};
// In the flat vector, and in a piece of its own.
Place place_in_flat(const Network &network, const Unit &unit);
Place place_in_piece(const Network &network, const Unit &unit);

// The gradient of one unit over the block's rows, or added to what lies there.
template <class T>
void sum_gradient(const Workspace<T> &space, std::size_t rows, const Unit &unit, T *gradient,
                  const Place &place, bool accumulate);

// Fix: the optimizer over one unit, then its copies in panels.
template <class T>
void update_unit(const Network &network, Parameters<T> &parameters, const T *gradient,
                 const Place &place, Moments<T> &moments, const kernels::UpdateRule<T> &rule,
                 const Unit &unit);

// Adds scale * standard normal numbers to a unit's gradient: numbers of the seed, the step and the
// places in the flat vector, so the same ones whichever thread asks.
template <class T>
void add_noise(const Network &network, const Unit &unit, T *gradient, const Place &place,
               double scale, std::uint64_t seed, std::uint64_t step);

template <class T> double sum_of_squares(const T *values, const Place &place);

} // namespace culpa
