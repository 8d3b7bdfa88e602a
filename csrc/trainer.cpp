#include "trainer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "share.h"

namespace culpa {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Steps of fewer operations end soon enough by themselves.
constexpr double long_step = 1e8;

// What the threads of one call share. Written by worker 0 before a barrier or by atomics, read
// after.
struct Shared {
  std::atomic<bool> finite{true};
  std::atomic<std::size_t> bad_row{no_row};
  bool stop_now = false; // interrupted: drop the step
  bool out_of_time = false;

  bool good() const {
    return finite.load(std::memory_order_relaxed) &&
           bad_row.load(std::memory_order_relaxed) == no_row && !stop_now;
  }
};

// This thread's units: a stretch of the list with its part of the work. The cut moves with the
// number of threads; the sums do not.
Range own_units(const std::vector<Unit> &units, const Crew &crew) {
  if (crew.size == 1)
    return {0, units.size()};
  const auto cost = [](const Unit &unit) { // + what every unit costs at the least
    return (unit.inputs.end - unit.inputs.begin + 1) * (unit.outputs.end - unit.outputs.begin + 8);
  };
  std::size_t total = 0;
  for (const Unit &unit : units)
    total += cost(unit);
  Range mine{units.size(), units.size()};
  std::size_t before = 0;
  for (std::size_t u = 0; u < units.size(); ++u) {
    if (mine.begin == units.size() && before * crew.size >= total * crew.index)
      mine.begin = u;
    if (before * crew.size >= total * (crew.index + 1)) {
      mine.end = u;
      break;
    }
    before += cost(units[u]);
  }
  return mine;
}

double sum(const Buffer<double> &values) {
  double total = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    total += values[i];
  return total;
}

// The row phase and the weight phase of a batch, block by block: error signals, then the gradient
// of this thread's units, not yet divided by the sum of weights. finish(unit index, gradient,
// place) is called once a unit's gradient is whole. Gives false, on all threads alike, where the
// batch must be dropped; ends without a barrier.
template <class T, class Finish>
bool walk_batch(const Network &network, const Parameters<T> &parameters, Workspace<T> &space,
                const TrainJob &job, Range positions, Draw draw, const Crew &crew,
                Schedule schedule, Range units, Shared &shared, LossSums &sums, Signals *poll,
                bool clips, double example_clip, Finish finish) {
  // In a piece of its own the gradient never leaves the caches, unless it must wait.
  const Examples &examples = job.examples;
  const bool whole = clips || positions.end - positions.begin > space.rows;
  T *piece = space.pieces.data() + crew.index * space.piece_size;
  if (positions.begin == positions.end) { // of private training: its noise alone
    crew.wait();
    for (std::size_t u = units.begin; u < units.end; ++u) {
      const Place place = place_in_piece(network, space.units[u]);
      std::fill_n(piece, place.rows * place.width, T(0));
      finish(u, piece, place);
    }
    return true;
  }
  for (std::size_t begin = positions.begin; begin < positions.end; begin += space.rows) {
    const std::size_t end = std::min(begin + space.rows, positions.end);
    draw.first_row = begin - positions.begin;
    const Block block{examples, {begin, end}, &draw};
    if (!forward(network, parameters, space, block, crew, schedule, shared.bad_row))
      shared.finite.store(false, std::memory_order_relaxed);
    crew.enter(Phase::backward);
    backward(network, parameters, space, block, crew, schedule);
    if (schedule == Schedule::columns)
      crew.wait(); // weigh() reads whole rows
    weigh(space, block, crew);
    if (example_clip > 0)
      clip_examples(network, space, block, crew, example_clip);
    crew.enter(Phase::rest);
    if (poll && crew.index == 0 && (*poll)())
      shared.stop_now = true;
    crew.wait();
    if (!shared.good())
      return false;
    if (crew.index == 0) {
      add_up(examples, space, {begin, end}, sums);
      if (job.example_losses)
        std::copy_n(space.losses.data(), end - begin, job.example_losses + begin);
      if (job.example_scores)
        std::copy_n(space.scores.data(), end - begin, job.example_scores + begin);
    }
    if (space.sparse) {
      crew.enter(Phase::weights);
      transpose(space.entries, end - begin, crew);
      crew.wait();
    }
    for (std::size_t u = units.begin; u < units.end; ++u) {
      const Unit &unit = space.units[u];
      T *gradient = whole ? space.gradient.data() : piece;
      const Place place = whole ? place_in_flat(network, unit) : place_in_piece(network, unit);
      crew.enter(Phase::weights);
      sum_gradient(space, end - begin, unit, gradient, place, begin > positions.begin);
      crew.enter(Phase::optimizer);
      if (end == positions.end)
        finish(u, gradient, place);
    }
    crew.enter(Phase::rest);
    if (end < positions.end)
      crew.wait(); // the next block overwrites what the units read
  }
  return true;
}

double weight_sum(const Examples &examples, Range positions) {
  if (!examples.weights)
    return static_cast<double>(positions.end - positions.begin);
  double total = 0;
  for (std::size_t i = positions.begin; i < positions.end; ++i)
    total += examples.weight(i);
  return total;
}

// torch.nn.utils.clip_grad_norm_'s factor.
double clip_factor(double norm, double most) { return std::min(1.0, most / (norm + 1e-6)); }

// All steps of a job, on every thread of a crew; `result` is written by thread 0.
template <class T>
void train_steps(Model<T> &model, const TrainJob &job, Crew crew, Schedule schedule, Shared &shared,
                 Signals *poll, TrainResult &result) {
  const Network &network = model.network;
  Workspace<T> &space = *model.space;
  const Range units = own_units(space.units, crew);
  const bool leads = crew.index == 0;
  std::optional<PhaseClock> clock;
  if (leads && job.phases)
    crew.clock = &clock.emplace(job.phases);
  const auto began = Clock::now();
  // Reading the clock takes 30 ns: not after each step of a tiny network.
  const std::size_t clock_every = network.parameters < 20000 ? 8 : 1;
  std::size_t updates = 0;

  for (std::size_t step = 0; step < job.steps; ++step) {
    const Range batch{static_cast<std::size_t>(job.offsets[step]),
                      static_cast<std::size_t>(job.offsets[step + 1])};
    const Private &privacy = job.privacy;
    const double weights = privacy.clip > 0 ? privacy.divisor : weight_sum(job.examples, batch);
    const Draw draw{model.seed, model.member, model.steps + step, 0};
    LossSums sums;
    if (weights > 0) {
      ++updates;
      const double rate = job.learning_rates[step];
      auto rule =
          make_rule<T>(model.optimizer, rate, model.moments.steps + updates, 1 / weights, weights);
      const bool clips = job.clip_norm > 0, wants_norm = clips || job.norms;
      const bool whole = walk_batch(
          network, model.parameters, space, job, batch, draw, crew, schedule, units, shared, sums,
          poll, clips, privacy.clip, [&](std::size_t u, T *gradient, const Place &place) {
            const Unit &unit = space.units[u];
            if (privacy.noise > 0)
              add_noise(network, unit, gradient, place, privacy.noise, privacy.noise_seed,
                        model.steps + step);
            if (job.squares)
              space.squares[u] = unit.inputs.begin == unit.inputs.end
                                     ? 0
                                     : sum_of_squares(model.parameters.values.data(),
                                                      place_in_flat(network, unit));
            if (wants_norm)
              space.norms[u] = sum_of_squares(gradient, place);
            if (!clips)
              update_unit(network, model.parameters, gradient, place, model.moments, rule, unit);
          });
      if (!whole)
        break;
      if (wants_norm) {
        crew.wait(); // the norm needs the whole gradient
        const double share = model.optimizer.gradient_scale / weights;
        const double norm = std::sqrt(sum(space.norms)) * share;
        if (leads && job.norms)
          job.norms[step] = norm;
        if (clips) {
          rule.gradient_scale = static_cast<T>(clip_factor(norm, job.clip_norm) * share);
          crew.enter(Phase::optimizer);
          for (std::size_t u = units.begin; u < units.end; ++u)
            update_unit(network, model.parameters, space.gradient.data(),
                        place_in_flat(network, space.units[u]), model.moments, rule,
                        space.units[u]);
          crew.enter(Phase::rest);
        }
      }
    } else {
      if (leads && job.norms)
        job.norms[step] = 0;
      crew.wait(); // so that nobody still reads `out_of_time` when it is written again
    }
    if (leads) {
      result.steps = step + 1;
      result.updates = updates;
      shared.out_of_time = job.seconds > 0 && step % clock_every == 0 && since(began) > job.seconds;
    }
    crew.wait();
    if (leads) {
      if (job.losses)
        job.losses[step] = sums.loss;
      if (job.weights)
        job.weights[step] = sums.weight;
      if (job.scores)
        job.scores[step] = sums.score;
      if (job.squares)
        job.squares[step] = weights > 0 ? sum(space.squares) : 0;
    }
    if (shared.out_of_time)
      break;
  }
}

// The longest batch of a job, and so the rows that its workspace needs.
std::size_t longest(const TrainJob &job) {
  std::size_t most = 1;
  for (std::size_t i = 0; i < job.steps; ++i)
    most = std::max(most, static_cast<std::size_t>(job.offsets[i + 1] - job.offsets[i]));
  return most;
}

template <class T> void ready(Model<T> &model) { // a model without an optimizer gets the default
  if (!model.has_moments)
    set_optimizer(model, model.optimizer);
}

template <class T>
void make_room(Model<T> &model, std::size_t batch, std::size_t threads, bool clips, bool sparse) {
  std::size_t rows = std::min(batch, rows_per_block(model.network, sizeof(T), sparse));
  bool whole = clips || batch > rows;
  const auto &space = model.space;
  const bool same = space && space->sparse == sparse;
  if (same && space->rows >= rows && space->threads >= threads &&
      (space->gradient.size() || !whole))
    return;
  if (same) {
    rows = std::max(rows, space->rows);
    whole = whole || space->gradient.size();
  }
  model.space = std::make_unique<Workspace<T>>(model.network, rows, threads, whole, false, sparse);
}

template <class T> void make_room(Model<T> &model, const TrainJob &job, std::size_t threads) {
  const bool sparse = job.examples.x.sparse();
  make_room(model, longest(job), threads, job.clip_norm > 0, sparse);
  if (!sparse)
    return;
  std::size_t most = 0;
  for (std::size_t i = 0; i < job.steps; ++i)
    most = std::max(most, most_entries(job.examples,
                                       {static_cast<std::size_t>(job.offsets[i]),
                                        static_cast<std::size_t>(job.offsets[i + 1])},
                                       model.space->rows));
  model.space->entries.reserve(most, threads);
}

template <class T>
void finish(Model<T> &model, const Shared &shared, TrainResult &result, const TrainJob &job) {
  model.moments.steps += result.updates;
  model.steps += result.steps;
  if (shared.stop_now)
    result.stop = Stop::interrupted;
  else if (shared.bad_row.load() != no_row) {
    result.stop = Stop::not_finite;
    result.row = shared.bad_row.load();
  } else if (!shared.finite.load())
    result.stop = Stop::diverged;
  else if (result.steps < job.steps)
    result.stop = Stop::time;
}

} // namespace

template <class T>
TrainResult train(Model<T> &model, const TrainJob &job, std::size_t threads, Interrupt interrupt) {
  ready(model);
  const std::size_t rows = longest(job);
  const Plan plan = make_plan(model.network, rows, Walk::train, threads, &job.examples.x);
  make_room(model, job, plan.threads);
  Shared shared;
  Signals poll(interrupt);
  const bool polls = model.network.flops() * static_cast<double>(rows) > long_step;
  TrainResult result;
  run(plan.threads, [&](const Crew &crew) {
    train_steps(model, job, crew, plan.schedule, shared, crew.index == 0 && polls ? &poll : nullptr,
                result);
  });
  finish(model, shared, result, job);
  return result;
}

template <class T>
void train_side_by_side(const std::vector<Model<T> *> &models, const std::vector<TrainJob> &jobs,
                        std::vector<TrainResult> &results, std::size_t threads,
                        Interrupt interrupt) {
  for (std::size_t i = 0; i < models.size(); ++i) {
    ready(*models[i]);
    make_room(*models[i], jobs[i], 1);
  }
  std::vector<Shared> shared(models.size());
  results.assign(models.size(), {});
  std::atomic<std::size_t> next{0};
  Signals poll(interrupt);
  run(std::min(threads, models.size()), [&](const Crew &crew) {
    for (std::size_t i = 0; (i = next.fetch_add(1)) < models.size();) {
      train_steps(*models[i], jobs[i], Crew{}, Schedule::rows, shared[i],
                  crew.index == 0 ? &poll : nullptr, results[i]);
      if (shared[i].stop_now)
        next.store(models.size()); // interrupted: the others need not begin
    }
  });
  for (std::size_t i = 0; i < models.size(); ++i)
    finish(*models[i], shared[i], results[i], jobs[i]);
}

template <class T>
void apply(Model<T> &model, const T *gradient, double learning_rate, double weight_sum,
           std::size_t threads) {
  const Network &network = model.network;
  ready(model);
  make_room(model, 1, 1, false, model.space && model.space->sparse);
  ++model.moments.steps;
  const auto rule =
      make_rule<T>(model.optimizer, learning_rate, model.moments.steps, 1, weight_sum);
  const std::size_t useful = std::min(threads, network.parameters / 65536 + 1);
  run(useful, [&](const Crew &crew) {
    const Range units = own_units(model.space->units, crew);
    for (std::size_t u = units.begin; u < units.end; ++u)
      update_unit(network, model.parameters, gradient,
                  place_in_flat(network, model.space->units[u]), model.moments, rule,
                  model.space->units[u]);
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
  template void train_side_by_side(const std::vector<Model<T> *> &, const std::vector<TrainJob> &, \
                                   std::vector<TrainResult> &, std::size_t, Interrupt);            \
  template void apply(Model<T> &, const T *, double, double, std::size_t);                         \
  template void set_optimizer(Model<T> &, const Optimizer &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
