#include "training/trainer.h"

#include <chrono>
#include <optional>
#include <utility>

#include "training/step.h"
#include "training/update.h"

namespace culpa {

namespace {

using Clock = std::chrono::steady_clock;

// Steps of fewer operations end soon enough by themselves.
constexpr double long_step = 1e8;

// All steps of a job, on every thread of a crew.
template <class T>
void train_steps(const Model<T> &model, const TrainJob &job, Steps<T> &steps, Crew crew,
                 Split split) {
  const Range units = steps.own_units(crew);
  const bool leads = crew.index == 0;
  std::optional<PhaseClock> clock;
  if (leads && job.phases)
    crew.clock = &clock.emplace(job.phases);
  const auto began = Clock::now();
  // Reading the clock takes 30 ns: not after each step of a tiny network.
  const std::size_t clock_every = model.network.parameters < 20000 ? 8 : 1;
  for (std::size_t i = 0; i < job.steps; ++i) {
    Step<T> step = steps.at(i);
    if (step.learns()) {
      if (!steps.walk_batch(step, crew, split, units) || !steps.settle_step(step, crew, units))
        break;
    } else
      crew.wait(); // so that no thread still reads `out_of_time` when it is written again
    if (leads) {
      steps.count_step(step);
      steps.shared.out_of_time =
          job.seconds > 0 && i % clock_every == 0 &&
          std::chrono::duration<double>(Clock::now() - began).count() > job.seconds;
    }
    crew.wait();
    if (leads)
      steps.write_sums(step);
    if (steps.shared.out_of_time)
      break;
  }
}

} // namespace

template <class T>
TrainResult train(Model<T> &model, const TrainJob &job, std::size_t threads, Interrupt interrupt) {
  const std::size_t rows = longest_batch(job);
  const Plan plan = make_plan(model.network, rows, Walk::train, threads, &job.examples.x);
  Steps<T> steps(model, job, plan.threads);
  Poll poll(interrupt);
  run(plan.threads, [&](Crew crew) {
    if (steps.flops() > long_step) {
      crew.poll = &poll;
      crew.polls_signals = crew.index == 0;
    }
    train_steps(model, job, steps, crew, plan.split);
  });
  return steps.result();
}

template <class T>
void apply(Model<T> &model, const T *gradient, double learning_rate, double weight_sum,
           std::size_t threads) {
  const Network &network = model.network;
  if (!model.has_moments)
    set_optimizer(model, model.optimizer);
  ++model.moments.steps;
  const auto rule =
      make_rule<T>(model.optimizer, learning_rate, model.moments.steps, 1, weight_sum);
  const std::size_t useful = std::min(threads, network.parameters / 65536 + 1);
  run(useful, [&](const Crew &crew) {
    const Range units = own_units(network.units, crew);
    for (std::size_t u = units.begin; u < units.end; ++u)
      update_unit(model, rule, network.units[u], gradient, network.place_in_flat(network.units[u]));
  });
}

template <class T> void set_optimizer(Model<T> &model, const Optimizer &optimizer) {
  Moments<T> fresh; // may not fit into memory: then nothing has changed
  fresh.reset(model.network, optimizer);
  model.moments = std::move(fresh);
  model.optimizer = optimizer;
  model.has_moments = true;
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template TrainResult train(Model<T> &, const TrainJob &, std::size_t, Interrupt);                \
  template void apply(Model<T> &, const T *, double, double, std::size_t);                         \
  template void set_optimizer(Model<T> &, const Optimizer &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
