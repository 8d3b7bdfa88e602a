// Several models on the same data. Where a step of all of them is short, each is on one thread for
// some steps at a time, and the call is back before a signal could want attention. Where it is
// long, every step is in two halves: the gradients of all models, which a signal may stop, and then
// all updates. So all models do the same number of steps (a shorter job fewer), however the call
// ends, and a signal handler finds each of them after the same step.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>

#include "training/step.h"

namespace culpa {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Operations that a thread does in some 50 ms.
constexpr double short_walk = 2e9;
// The step of a model whose job has ended.
constexpr std::size_t none = ~std::size_t{0};
// A model with longer steps gets all threads: then none waits for one that is long at work.
constexpr double wide_step = 1e8;

template <class T> class Side {
public:
  Side(const std::vector<Model<T> *> &models, const std::vector<TrainJob> &jobs,
       std::size_t threads, Interrupt interrupt)
      : jobs_(jobs), crowd_(std::min(threads, models.size())), poll_(interrupt) {
    double total = 0, most = 0;
    for (std::size_t i = 0; i < models.size(); ++i) {
      const std::size_t rows = longest_batch(jobs[i]);
      const double flops = models[i]->network.flops() * static_cast<double>(rows);
      total += flops;
      most = std::max(most, flops);
      plans_.push_back(flops > wide_step ? make_plan(models[i]->network, rows, Walk::train, threads,
                                                     &jobs[i].examples.x)
                                         : Plan{});
      length_ = std::max(length_, jobs[i].steps);
    }
    halves_ = total > short_walk * static_cast<double>(crowd_) || most > 2 * short_walk;
    for (std::size_t i = 0; i < models.size(); ++i) {
      if (!halves_)
        plans_[i] = {};
      all_.emplace_back(*models[i], jobs[i], plans_[i].threads, halves_);
    }
  }

  void train() { halves_ ? train_in_halves() : train_in_rounds(); }

  TrainResult result(std::size_t i) const {
    TrainResult result = all_[i].result();
    if (poll_.stopped())
      result.stop = Stop::interrupted;
    return result;
  }

private:
  // Some steps of every model, then the next ones: as many as make a round worth its barriers.
  void train_in_rounds() {
    const double seconds = jobs_.front().seconds;
    const auto began = Clock::now();
    auto round_began = began;
    Range round{0, std::min<std::size_t>(1, length_)};
    std::atomic<std::size_t> next{0};
    bool over = length_ == 0;
    run(crowd_, [&](const Crew &crew) {
      while (!over) {
        for (std::size_t i = 0; (i = next.fetch_add(1)) < all_.size();)
          for (std::size_t s = round.begin;
               s < std::min(round.end, jobs_[i].steps) && train_step(all_[i], s); ++s) {
          }
        crew.wait();
        if (crew.index == 0) {
          const double taken = since(round_began);
          std::size_t steps = round.end - round.begin;
          if (taken < 0.2 * seconds)
            steps *= 2;
          round = {round.end, std::min(round.end + steps, length_)};
          next.store(0);
          round_began = Clock::now();
          over = round.begin == length_ || (seconds > 0 && since(began) > seconds) || failed();
        }
        crew.wait();
      }
    });
  }

  bool train_step(Steps<T> &steps, std::size_t index) {
    Step<T> step = steps.at(index);
    const Crew alone{};
    const Range units = steps.own_units(alone);
    if (step.learns() && (!steps.walk_batch(step, alone, Split::rows, units) ||
                          !steps.settle_step(step, alone, units)))
      return false;
    steps.count_step(step);
    steps.write_sums(step);
    return true;
  }

  void train_in_halves() {
    const double seconds = jobs_.front().seconds;
    const auto began = Clock::now();
    Step<T> ended{};
    ended.index = none;
    std::vector<Step<T>> now;
    now.reserve(all_.size()); // memory cannot run out between steps
    for (std::size_t s = 0; s < length_; ++s) {
      now.clear();
      for (std::size_t i = 0; i < all_.size(); ++i)
        now.push_back(s < jobs_[i].steps ? all_[i].at(s) : ended);
      for_each_step(now, [](Steps<T> &steps, Step<T> &step, const Crew &crew, Split split) {
        steps.walk_batch(step, crew, split, steps.own_units(crew));
      });
      if (!poll_.going(true)) // not one of them has changed a weight
        return;
      for_each_step(now, [](Steps<T> &steps, Step<T> &step, Crew crew, Split) {
        if (!steps.shared.good())
          return;
        crew.poll = nullptr; // all models, or none
        steps.settle_step(step, crew, steps.own_units(crew));
      });
      for (std::size_t i = 0; i < all_.size(); ++i)
        if (now[i].index != none && all_[i].shared.good()) {
          all_[i].count_step(now[i]);
          all_[i].write_sums(now[i]);
        }
      if (failed() || (seconds > 0 && since(began) > seconds))
        return;
    }
  }

  // f(steps, step, crew, split) for all models whose step has something to learn from: one after
  // the other by all threads, or each by one.
  template <class F> void for_each_step(std::vector<Step<T>> &now, F f) {
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (plans_[i].threads > 1 && now[i].learns())
        run(plans_[i].threads, [&](Crew crew) {
          crew.poll = &poll_;
          crew.polls_signals = crew.index == 0;
          Step<T> own = now[i];
          f(all_[i], own, crew, plans_[i].split);
          crew.wait(); // until all have copied it
          if (crew.polls_signals)
            now[i] = own; // with the sums
        });
    std::atomic<std::size_t> next{0};
    run(crowd_, [&](const Crew &crew) {
      for (std::size_t i = 0; (i = next.fetch_add(1)) < all_.size();)
        if (plans_[i].threads == 1 && now[i].learns())
          f(all_[i], now[i], crew.alone(poll_), Split::rows);
    });
  }

  bool failed() const {
    return std::any_of(all_.begin(), all_.end(),
                       [](const Steps<T> &steps) { return !steps.shared.good(); });
  }

  const std::vector<TrainJob> &jobs_;
  std::size_t crowd_, length_ = 0;
  Poll poll_;
  std::vector<Plan> plans_;
  std::deque<Steps<T>> all_;
  bool halves_ = false;
};

} // namespace

template <class T>
void train_side_by_side(const std::vector<Model<T> *> &models, const std::vector<TrainJob> &jobs,
                        std::vector<TrainResult> &results, std::size_t threads,
                        Interrupt interrupt) {
  results.assign(models.size(), {});
  if (models.empty())
    return;
  Side<T> side(models, jobs, threads, interrupt);
  side.train();
  for (std::size_t i = 0; i < models.size(); ++i)
    results[i] = side.result(i);
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template void train_side_by_side(const std::vector<Model<T> *> &, const std::vector<TrainJob> &, \
                                   std::vector<TrainResult> &, std::size_t, Interrupt);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
