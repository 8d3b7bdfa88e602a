#include "stages/judge.h"

#include <cmath>
#include <limits>

namespace culpa {

using kernels::active;

template <class T>
bool judge(const Network &network, const ExamplesView &examples, std::size_t first,
           Workspace<T> &space, std::size_t thread, Range rows, const Judgement<T> &out) {
  const Matrix<T> outputs = space.hidden.back();
  active<T>().loss({.loss = network.loss,
                    .y = outputs.data,
                    .stride = outputs.stride,
                    .rows = rows,
                    .outputs = network.outputs(),
                    .labels = examples.y.labels ? space.labels.data() : nullptr,
                    .targets = space.targets.data(),
                    .delta = out.delta.data,
                    .losses = out.losses,
                    .scores = out.scores,
                    .score_scale = examples.score_scale,
                    .scratch = space.scratch.data() + thread * space.scratch_size});
  bool finite = true;
  for (std::size_t r = rows.begin; r < rows.end; ++r) // without a branch: it runs on all lanes
    finite &= std::abs(out.losses[r]) <= std::numeric_limits<double>::max();
  if (examples.exact)
    judge_exactly(network, examples, first, outputs, rows, out.losses, out.scores);
  return finite;
}

template <class T>
void add_up(const ExamplesView &examples, const Workspace<T> &space, Range positions,
            LossSums &sums) {
  const double *losses = space.losses.data(), *scores = space.scores.data();
  if (examples.sample_weights)
    for (std::size_t i = positions.begin; i < positions.end; ++i, ++losses, ++scores) {
      const double weight = examples.sample_weight(i);
      sums.weight += weight;
      sums.loss += weight * *losses;
      sums.score += weight * *scores;
    }
  else {
    const std::size_t count = positions.end - positions.begin;
    double loss = 0, score = 0;
    for (std::size_t i = 0; i < count; ++i) {
      loss += losses[i];
      score += scores[i];
    }
    sums.weight += static_cast<double>(count);
    sums.loss += loss;
    sums.score += score;
  }
}

#define CULPA_INSTANTIATE(T)                                                                       \
  template bool judge(const Network &, const ExamplesView &, std::size_t, Workspace<T> &,          \
                      std::size_t, Range, const Judgement<T> &);                                   \
  template void add_up(const ExamplesView &, const Workspace<T> &, Range, LossSums &);
CULPA_INSTANTIATE(float)
CULPA_INSTANTIATE(double)

} // namespace culpa
