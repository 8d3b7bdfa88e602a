#include "stages/plan.h"

#include <algorithm>
#include <atomic>

#include "data/sparse.h"
#include "threads/team.h"

namespace culpa {

namespace {

std::atomic<std::size_t> forced_threads{0};
std::atomic<Split> forced_split{Split::rows};

// What sparse inputs change in a plan's costs: the first layer works on entries alone, while the
// optimizer still goes over all weights, most of which no row has touched.
struct Costs {
  double row_flops;   // of one row
  double step_flops;  // of one step, whatever its rows
  double row_values;  // of one row, that other threads read
  double step_values; // of one step: weights whose copies others read
};

Costs costs(const Network &network, const Source *x, double rows, bool trains) {
  const auto parameters = static_cast<double>(network.parameters);
  const auto inputs = static_cast<double>(network.inputs());
  const double rest = 2 * static_cast<double>(network.values());
  const double flops = trains ? network.flops() : 2 * parameters;
  if (!x || !x->sparse() || network.dense.empty())
    return {flops, 0, inputs + rest, 2 * parameters};
  const auto outputs = static_cast<double>(network.stages[network.dense.front()].outputs);
  const double entries = mean_entries(*x), missing = inputs - entries;
  constexpr double update_flops = 100; // a weight and its moments come from memory: about 1 ns
  return {flops - (trains ? 4 : 2) * missing * outputs, trains ? update_flops * parameters : 0,
          2 * entries + rest,
          2 * (parameters - inputs * outputs) + std::min(inputs, rows * entries) * outputs};
}

} // namespace

void force_plan(std::size_t threads, Split split) {
  forced_threads.store(threads);
  forced_split.store(split);
}

Plan make_plan(const Network &network, std::size_t rows, Walk walk, std::size_t most_threads,
               const Source *x) {
  if (const std::size_t threads = forced_threads.load(); threads > 0)
    return {threads, forced_split.load()};
  constexpr double flops_per_second = 8e10; // of one core, roughly
  constexpr std::size_t few_rows = 8;       // below, a thread reads weights more than it computes
  const bool trains = walk == Walk::train;
  const auto n_rows = static_cast<double>(rows);
  const Costs cost_of = costs(network, x, n_rows, trains);
  const double work = cost_of.row_flops * n_rows / flops_per_second;
  const double step_work = cost_of.step_flops / flops_per_second;
  std::size_t widest = 0;
  for (const Stage &stage : network.stages)
    widest = std::max(widest, stage.outputs);
  // Cache lines of 16 floats that change cores in a step: hidden values and error signals for the
  // weight phase, both copies of the weights for the row phase. Measured on a Xeon with AVX-512: 75
  // ns each for the first thousand, which sit in another core's own caches, 10 ns for the rest.
  const double lines = trains ? (n_rows * cost_of.row_values + cost_of.step_values) / 16 : 0;
  Plan best;
  double least = work + step_work;
  // 2, 3, 4, 6, 8, 12, ... threads and the most, until more no longer pay: each count is measured.
  for (std::size_t n = 2, last = 1; last < most_threads && work + step_work > 4e-6;
       last = n, n = std::min(n % 3 == 0 ? n / 3 * 4 : std::max(n / 2 * 3, n + 1), most_threads)) {
    const bool columns = trains && (rows + n - 1) / n < few_rows && widest >= 64 * n;
    const auto parts =
        static_cast<double>(columns ? n : std::min(n, std::max<std::size_t>(rows, 1)));
    const double barriers = columns ? 2.0 * static_cast<double>(network.stages.size()) + 3 : 2;
    const double moved = lines * (parts - 1) / (parts * parts); // by each thread
    const double exchange = 75e-9 * std::min(moved, 1000.0) + 10e-9 * std::max(moved - 1000, 0.0);
    const double cost = work / parts + step_work / static_cast<double>(n) + exchange +
                        2 * barriers * barrier_seconds(n);
    if (cost < 0.9 * least) {
      least = cost;
      best = {n, columns ? Split::columns : Split::rows};
    } else if (cost > 1.5 * least)
      break;
  }
  return best;
}

} // namespace culpa
