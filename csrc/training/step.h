// One step of training in the pieces that trainer.cpp and side_by_side.cpp put together. All
// threads of a crew call them alike, each for its own units.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "stages/walk.h"
#include "training/trainer.h"

namespace culpa {

// This thread's units: a stretch of the list with its part of the work. The cut moves with the
// number of threads; the sums do not.
Range own_units(const std::vector<Unit> &units, const Crew &crew);

// The rows of the longest batch of a job.
std::size_t longest_batch(const TrainJob &job);

// What the threads of one job share, beside what those of a walk do.
struct Shared : Walked {
  bool stop_update = false; // drop the step
  bool out_of_time = false;

  bool good() const {
    return finite.load(std::memory_order_relaxed) &&
           bad_row.load(std::memory_order_relaxed) == no_row && !stopped;
  }
};

// What a thread knows of a step: the same on all, but for the sums, which thread 0 has.
template <class T> struct Step {
  std::size_t index;
  Range batch;
  BatchWeights sample_weights;
  Draw draw;
  StepRule<T> rule;
  LossSums sums;

  bool learns() const { return sample_weights.weight_sum > 0; }
};

// The steps of a job.
template <class T> class Steps {
public:
  // Makes room in the model's workspace for walks by so many threads.
  Steps(Model<T> &model, const TrainJob &job, std::size_t threads, bool holds_weights_back = false);

  // Operations of the longest batch.
  double flops() const { return model_.network.flops() * static_cast<double>(rows_); }

  Range own_units(const Crew &crew) const { return culpa::own_units(model_.network.units, crew); }

  Step<T> at(std::size_t index) const;
  // The row phase and the weight phase of the batch, block by block; the optimizer too, unless the
  // weights are held back. Gives false, on all threads alike, where the step must be dropped; ends
  // without a barrier.
  bool walk_batch(Step<T> &step, const Crew &crew, Split split, Range units);
  // What waits for the completed gradient: its norm, clipping, and weights that were held back.
  // Gives false, on all threads alike, where the step must be dropped.
  bool settle_step(Step<T> &step, const Crew &crew, Range units);
  // By thread 0: the step is done.
  void count_step(const Step<T> &step);
  void write_sums(const Step<T> &step) const;

  // Why the job ended.
  TrainResult result() const;

  Shared shared;

private:
  struct Visit;

  // In a piece of its own the gradient never leaves the caches, unless it must wait.
  bool needs_flat_gradient(const Step<T> &step) const {
    return holds_weights_back_ || step.batch.end - step.batch.begin > model_.space->rows;
  }
  void finish_unit(const Step<T> &step, std::size_t unit, T *gradient, const Place &place);

  Model<T> &model_;
  const TrainJob &job_;
  std::size_t rows_;
  // The weights stay as they are until the gradient is completed. Clipping asks for that, and
  // long steps do: until then a signal may drop the step, and a handler finds whole weights.
  bool holds_weights_back_;
  std::size_t done_ = 0;
};

} // namespace culpa
