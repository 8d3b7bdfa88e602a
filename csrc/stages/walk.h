// The walk of a block of examples through the network: a guess, its loss, and error signals back.
// The rows' phase; then, after a barrier, gradients of the weights. All is called by every thread
// of a crew, each for its part.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "data/gather.h"
#include "data/weights.h"
#include "stages/judge.h"
#include "stages/stage.h"

namespace culpa {

// One block: positions [begin, end) of the examples' order.
struct Block {
  const ExamplesView &examples;
  Range positions;
  const Draw *draw; // nullptr: no dropout

  std::size_t rows() const { return positions.end - positions.begin; }
};

// f(stretch) for stretches of the rows, as long as the crew goes on: a long call is asked between
// them. 504 rows are whole tiles of 14 and of 6.
template <class F> void by_stretches(const Crew &crew, Range rows, F f) {
  if (!crew.poll)
    return f(rows);
  constexpr std::size_t stretch = 504;
  for (std::size_t begin = rows.begin; begin < rows.end && crew.going(); begin += stretch)
    f(Range{begin, std::min(begin + stretch, rows.end)});
}

// The part of a stage that a thread works on: its rows, or its panels of so many columns.
struct Region {
  Range rows, panels;
};

// The inputs of this thread's rows, with dropout. Gives a row of the source that holds NaN or
// infinity, or no_row.
template <class T> std::size_t gather_inputs(const Pass<T> &pass, const Block &block);

// Stage s forward, its activation and dropout included.
template <class T>
void forward_stage(const Pass<T> &pass, std::size_t s, const Region &region, const Draw *draw);

// In place, z becomes h, with its slopes where the workspace keeps them.
template <class T>
void activate(const Pass<T> &pass, std::size_t s, Matrix<T> h, const Region &region);

// Guess: every stage, and the loss with its derivative, for this thread's rows. Gives false where a
// loss is not finite; `bad_row` receives a row of the source that holds NaN or infinity. Where the
// crew stops, what it leaves is worth nothing.
template <class T>
bool forward(const Pass<T> &pass, const Block &block, std::atomic<std::size_t> &bad_row);

// Error signals of every stage from the last down to stage `lowest`, for this thread's part of so
// many rows; those of the inputs too where the workspace has room for them.
template <class T> void backward(const Pass<T> &pass, std::size_t rows, std::size_t lowest);

// delta[s], so far dL_i/dh, becomes dL_i/dz.
template <class T> void finish_delta(const Pass<T> &pass, std::size_t s, const Region &region);

// One row's error signals times a factor.
template <class T> void scale_row(Workspace<T> &space, std::size_t row, T factor);
// Each row's times its weight, where the examples have weights.
template <class T>
void weigh_examples(const Pass<T> &pass, const Block &block, const BatchWeights &sample_weights);

// The squared norms of these rows' own gradients, into example_squares.
template <class T> void square_norms(const Network &network, Workspace<T> &space, Range rows);

// What the threads of a walk share. Written by thread 0 before a barrier, or by atomics, and read
// after. (A stop that is asked for reaches threads at different moments; they leave together.)
struct Walked {
  std::atomic<bool> finite{true};
  std::atomic<std::size_t> bad_row{no_row};
  bool stopped = false;
};

// All positions of a walk, block by block: the rows' phase, a barrier, and the gradients of this
// thread's units. Visit has
//   rows(block)           error signals are there: this thread's rows, before the barrier
//   goes_on()             after it, the same on all threads
//   block_done(block)     on thread 0: losses are there, beside the next phase
//   wants_gradient        whether the second phase has something to do
//   units                 this thread's part of the network's
//   place(unit, to)       where a unit's gradient goes
//   may_stop(last)        whether no weight is changed in the units' phase
//   unit_done(u, gradient, place)   after the last block
// Gives false where it was left early. Ends without a barrier.
template <class T, class Visit>
bool walk(const Pass<T> &pass, const ExamplesView &examples, Range positions, Draw *draw,
          Walked &walked, Visit &visit) {
  Workspace<T> &space = pass.space;
  const Crew &crew = pass.crew;
  for (std::size_t begin = positions.begin; begin < positions.end; begin += space.rows) {
    const Block block{examples, {begin, std::min(begin + space.rows, positions.end)}, draw};
    const bool last = block.positions.end == positions.end;
    if (draw)
      draw->first_row = begin - positions.begin;
    if (!forward(pass, block, walked.bad_row))
      walked.finite.store(false, std::memory_order_relaxed);
    crew.enter(Phase::backward);
    backward(pass, block.rows(), pass.network.lowest);
    if (pass.split == Split::columns)
      crew.wait(); // what follows reads whole rows
    visit.rows(block);
    crew.enter(Phase::rest);
    if (crew.index == 0)
      walked.stopped = !crew.going();
    crew.wait();
    if (!visit.goes_on())
      return false;
    if (crew.index == 0)
      visit.block_done(block);
    const Range units = visit.wants_gradient ? visit.units : Range{0, 0};
    if (space.sparse && visit.wants_gradient) {
      crew.enter(Phase::gradient);
      transpose(space.entries, block.rows(), crew);
      crew.wait();
    }
    const bool may_stop = visit.may_stop(last);
    for (std::size_t u = units.begin; u < units.end && (!may_stop || crew.going()); ++u) {
      const Unit &unit = pass.network.units[u];
      T *gradient = nullptr;
      const Place place = visit.place(unit, gradient);
      crew.enter(Phase::gradient);
      stage_kind<T>(pass.stage(unit.stage).kind)
          .gradient(pass.network, space, unit, block.rows(), gradient, place,
                    begin > positions.begin);
      crew.enter(Phase::optimizer);
      if (last)
        visit.unit_done(u, gradient, place);
    }
    crew.enter(Phase::rest);
    if (!last)
      crew.wait(); // the next block overwrites what the units read
  }
  return true;
}

} // namespace culpa
