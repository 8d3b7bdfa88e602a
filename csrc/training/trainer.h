// The loop: gather -> forward -> loss -> backward -> update, thousands of batches per call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/gather.h"
#include "network/model.h"
#include "threads/interrupt.h"
#include "training/private.h"
#include "view.h"

namespace culpa {

struct TrainJob {
  ExamplesView examples;
  const std::int64_t *offsets = nullptr;  // steps + 1 positions in the order, not decreasing
  const double *learning_rates = nullptr; // per step
  std::size_t steps = 0;
  double clip_norm = 0; // 0: none
  PrivateStep privacy;
  double seconds = 0; // come back after this long; 0: never
  // Per step, each may be nullptr: sums over the batch of w L, w and w * score, the gradient's
  // global norm before clipping, and the sum of squared weights before the update.
  double *losses = nullptr, *weight_sums = nullptr, *scores = nullptr;
  double *norms = nullptr, *squares = nullptr;
  // Per position of the order, each may be nullptr: each example's own L and score, when its batch
  // came.
  double *example_losses = nullptr, *example_scores = nullptr;
  double *phases = nullptr; // seconds of the first thread in each Phase, added to
};

enum class Stop : int { finished, time, diverged, interrupted, not_finite };
constexpr Name<Stop> stop_names[] = {
    {Stop::finished, "finished"},     {Stop::time, "time"},
    {Stop::diverged, "diverged"},     {Stop::interrupted, "interrupted"},
    {Stop::not_finite, "not_finite"},
};
static_assert(sizeof stop_names / sizeof *stop_names ==
              static_cast<std::size_t>(Stop::not_finite) + 1);

struct TrainResult {
  std::size_t steps = 0; // done
  Stop stop = Stop::finished;
  std::size_t row = no_row; // not_finite: a row of the source that holds NaN or infinity
};

// Trains until all steps are done or something stops it; a step that is stopped leaves no trace.
template <class T>
TrainResult train(Model<T> &model, const TrainJob &job, std::size_t threads, Interrupt interrupt);

// Several models side by side on the team's threads, with the same bits as one by one. All do the
// same number of steps, but for those whose jobs are shorter, until the longest job is done, time
// is up (the first job's `seconds` are for all) or something stops one of them. results[i] belongs
// to models[i].
template <class T>
void train_side_by_side(const std::vector<Model<T> *> &models, const std::vector<TrainJob> &jobs,
                        std::vector<TrainResult> &results, std::size_t threads,
                        Interrupt interrupt);

// The second half of a step (blame.h has the first): the optimizer with a given flat gradient.
// `weight_sum` matters only to decay_per_example.
template <class T>
void apply(Model<T> &model, const T *gradient, double learning_rate, double weight_sum,
           std::size_t threads);

// Sets the optimizer, with fresh moments.
template <class T> void set_optimizer(Model<T> &model, const Optimizer &optimizer);

} // namespace culpa
