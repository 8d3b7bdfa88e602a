#include "training/step.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "training/update.h"

namespace culpa {

namespace {

double sum(const Buffer<double> &values) {
  double total = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    total += values[i];
  return total;
}

// torch.nn.utils.clip_grad_norm_'s factor.
double clip_factor(double norm, double most) { return std::min(1.0, most / (norm + 1e-6)); }

Range batch_of(const TrainJob &job, std::size_t step) {
  return {static_cast<std::size_t>(job.offsets[step]),
          static_cast<std::size_t>(job.offsets[step + 1])};
}

} // namespace

std::size_t longest_batch(const TrainJob &job) {
  std::size_t most = 1;
  for (std::size_t i = 0; i < job.steps; ++i)
    most = std::max(most, batch_of(job, i).end - batch_of(job, i).begin);
  return most;
}

namespace {

template <class T>
void make_room(Model<T> &model, const TrainJob &job, std::size_t batch, std::size_t threads,
               bool holds_weights_back) {
  const bool sparse = job.examples.x.sparse();
  std::size_t rows = std::min(batch, rows_per_block(model.network, sizeof(T), sparse));
  bool needs_flat_gradient = holds_weights_back || batch > rows;
  const auto &space = model.space;
  const bool same = space && space->sparse == sparse;
  if (!same || space->rows < rows || space->threads < threads ||
      (needs_flat_gradient && !space->gradient.size())) {
    if (same) {
      rows = std::max(rows, space->rows);
      needs_flat_gradient = needs_flat_gradient || space->gradient.size();
    }
    model.space =
        std::make_unique<Workspace<T>>(model.network, Room{.rows = rows,
                                                           .threads = threads,
                                                           .flat_gradient = needs_flat_gradient,
                                                           .sparse = sparse});
  }
  if (!sparse)
    return;
  std::size_t most = 0;
  for (std::size_t i = 0; i < job.steps; ++i)
    most = std::max(most, most_entries(job.examples, batch_of(job, i), model.space->rows));
  model.space->entries.reserve(most, threads);
}

} // namespace

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

template <class T>
Steps<T>::Steps(Model<T> &model, const TrainJob &job, std::size_t threads, bool holds_weights_back)
    : model_(model), job_(job), rows_(longest_batch(job)),
      holds_weights_back_(holds_weights_back || job.clip_norm > 0) {
  if (!model.has_moments) // a model without an optimizer gets the default
    set_optimizer(model, model.optimizer);
  // The last block's gradients take that long at the most, about 0.1 s, where weights are not held
  // back: then nothing can stop the step.
  constexpr double long_walk = 4e9;
  const std::size_t block =
      std::min(rows_, rows_per_block(model.network, sizeof(T), job.examples.x.sparse()));
  if (2.0 * static_cast<double>(model.network.parameters) * static_cast<double>(block) >
      long_walk * static_cast<double>(threads))
    holds_weights_back_ = true;
  make_room(model, job, rows_, threads, holds_weights_back_);
}

template <class T> Step<T> Steps<T>::at(std::size_t index) const {
  const Range batch = batch_of(job_, index);
  const BatchWeights sample_weights = job_.privacy.clip > 0 ? BatchWeights{0, job_.privacy.divisor}
                                                            : batch_weights(job_.examples, batch);
  Step<T> step{.index = index,
               .batch = batch,
               .sample_weights = sample_weights,
               .draw = {.seed = model_.seed, .member = model_.member, .step = model_.steps},
               .rule = {},
               .sums = {}};
  if (step.learns())
    step.rule = make_rule<T>(model_.optimizer, job_.learning_rates[index], model_.moments.steps + 1,
                             1 / sample_weights.weight_sum, sample_weights.given_weight_sum());
  return step;
}

// What training does in the phases of a walk.
template <class T> struct Steps<T>::Visit {
  Steps &steps;
  Step<T> &step;
  const Pass<T> &pass;
  const Range units;
  const bool flat;
  static constexpr bool wants_gradient = true;

  void rows(const Block &block) const {
    weigh_examples(pass, block, step.sample_weights);
    if (steps.job_.privacy.clip > 0)
      clip_examples(pass, block.rows(), steps.job_.privacy.clip);
  }
  bool goes_on() const { return steps.shared.good(); }
  void block_done(const Block &block) const {
    const TrainJob &job = steps.job_;
    add_up(job.examples, pass.space, block.positions, step.sums);
    if (job.example_losses)
      std::copy_n(pass.space.losses.data(), block.rows(),
                  job.example_losses + block.positions.begin);
    if (job.example_scores)
      std::copy_n(pass.space.scores.data(), block.rows(),
                  job.example_scores + block.positions.begin);
  }
  // While weights change no handler may look at them.
  bool may_stop(bool last) const { return !last || steps.holds_weights_back_; }
  Place place(const Unit &unit, T *&gradient) const {
    gradient = flat ? pass.space.gradient.data()
                    : pass.space.pieces.data() + pass.crew.index * pass.space.piece_size;
    return flat ? pass.network.place_in_flat(unit) : pass.network.place_in_piece(unit);
  }
  void unit_done(std::size_t u, T *gradient, const Place &place) const {
    steps.finish_unit(step, u, gradient, place);
  }
};

template <class T>
bool Steps<T>::walk_batch(Step<T> &step, const Crew &crew, Split split, Range units) {
  const Pass<T> pass{model_.network, model_.parameters, *model_.space, crew, split};
  const Visit visit{*this, step, pass, units, needs_flat_gradient(step)};
  if (step.batch.begin != step.batch.end)
    return walk(pass, job_.examples, step.batch, &step.draw, shared, visit);
  // Of private training: its noise alone.
  crew.wait();
  for (std::size_t u = units.begin; u < units.end; ++u) {
    T *gradient = nullptr;
    const Place place = visit.place(model_.network.units[u], gradient);
    for (std::size_t i = 0; i < place.rows; ++i)
      std::fill_n(gradient + place.offset + i * place.stride, place.width, T(0));
    finish_unit(step, u, gradient, place);
  }
  return true;
}

// A unit's gradient is completed, not yet divided by the sum of weights.
template <class T>
void Steps<T>::finish_unit(const Step<T> &step, std::size_t u, T *gradient, const Place &place) {
  const Network &network = model_.network;
  Workspace<T> &space = *model_.space;
  const Unit &unit = network.units[u];
  if (job_.privacy.noise > 0)
    add_noise(network, unit, gradient, place, job_.privacy, step.draw.step);
  if (job_.squares)
    space.squares[u] =
        network.arrays[unit.array].decays
            ? sum_of_squares(model_.parameters.values.data(), network.place_in_flat(unit))
            : 0;
  if (job_.norms || job_.clip_norm > 0)
    space.norms[u] = sum_of_squares(gradient, place);
  if (!holds_weights_back_)
    update_unit(model_, step.rule, unit, gradient, place);
}

template <class T> bool Steps<T>::settle_step(Step<T> &step, const Crew &crew, Range units) {
  const bool wants_norm = job_.norms || job_.clip_norm > 0;
  if (!wants_norm && !holds_weights_back_)
    return true;
  if (crew.index == 0)
    shared.stop_update = holds_weights_back_ && !crew.going();
  crew.wait();
  if (shared.stop_update)
    return false;
  if (wants_norm) {
    const double share = model_.optimizer.gradient_scale / step.sample_weights.weight_sum;
    const double norm = std::sqrt(sum(model_.space->norms)) * share;
    if (crew.index == 0 && job_.norms)
      job_.norms[step.index] = norm;
    if (job_.clip_norm > 0)
      step.rule.rule.gradient_scale = static_cast<T>(clip_factor(norm, job_.clip_norm) * share);
  }
  if (!holds_weights_back_)
    return true;
  crew.enter(Phase::optimizer);
  for (std::size_t u = units.begin; u < units.end; ++u) {
    const Unit &unit = model_.network.units[u];
    update_unit(model_, step.rule, unit, model_.space->gradient.data(),
                model_.network.place_in_flat(unit));
  }
  crew.enter(Phase::rest);
  return true;
}

template <class T> void Steps<T>::count_step(const Step<T> &step) {
  ++done_;
  ++model_.steps;
  if (step.learns())
    ++model_.moments.steps;
}

template <class T> void Steps<T>::write_sums(const Step<T> &step) const {
  if (job_.losses)
    job_.losses[step.index] = step.sums.loss;
  if (job_.weight_sums)
    job_.weight_sums[step.index] = step.sums.weight;
  if (job_.scores)
    job_.scores[step.index] = step.sums.score;
  if (job_.squares)
    job_.squares[step.index] = step.learns() ? sum(model_.space->squares) : 0;
  if (job_.norms && !step.learns())
    job_.norms[step.index] = 0;
}

template <class T> TrainResult Steps<T>::result() const {
  TrainResult result{done_};
  if (shared.stopped || shared.stop_update)
    result.stop = Stop::interrupted;
  else if (shared.bad_row.load() != no_row) {
    result.stop = Stop::not_finite;
    result.row = shared.bad_row.load();
  } else if (!shared.finite.load())
    result.stop = Stop::diverged;
  else if (done_ < job_.steps)
    result.stop = Stop::time;
  return result;
}

template class Steps<float>;
template class Steps<double>;

} // namespace culpa
